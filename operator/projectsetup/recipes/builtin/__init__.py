"""The recipes that come with the package, and what their steps run."""
