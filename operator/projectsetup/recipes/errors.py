"""Errors of recipes and their parameters. Every message is one line."""

from __future__ import annotations


class RecipeError(ValueError):
    """Base of all recipe errors."""


class InvalidRecipe(RecipeError):
    """A recipe file is invalid; the message names the file, the place and the rule."""


class RecipesUnavailable(InvalidRecipe):
    """The recipe directory cannot be read at the moment."""


class UnknownRecipe(RecipeError):
    """No recipe has that name."""


class InvalidParameters(RecipeError):
    """The given parameters do not match those that the recipe declares."""
