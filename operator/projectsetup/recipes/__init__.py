"""Recipes: the model, the loader, the linter, the built-in recipes and the commands for their steps."""
