"""Commands that steps of recipes may call. They need the standard library and the programs that they run."""
