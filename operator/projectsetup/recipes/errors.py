"""What can be wrong about a recipe or with its parameters. Every message is one line."""

from __future__ import annotations


class RecipeError(ValueError):
    """Base of the errors of this room."""


class InvalidRecipe(RecipeError):
    """A recipe file cannot be used; the message names file, place and what is allowed."""


class RecipesUnavailable(InvalidRecipe):
    """The directory with the recipes cannot be read at the moment."""


class UnknownRecipe(RecipeError):
    """No recipe has that name."""


class InvalidParameters(RecipeError):
    """The parameters given are not those the recipe declares."""
