"""The setup module: runs the steps of a recipe for one project, one after another, and says how that went."""
