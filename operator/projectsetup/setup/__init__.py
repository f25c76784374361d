"""The setup module: runs the steps of a recipe for one project, one after another, and returns the outcome."""
