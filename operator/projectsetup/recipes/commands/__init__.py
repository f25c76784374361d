"""Commands for recipe steps. They need only the standard library and the programs that they run."""
