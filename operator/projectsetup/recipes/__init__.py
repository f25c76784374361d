"""What a setup consists of: the recipe model, its loader, and the built-in recipes."""
