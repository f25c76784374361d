"""The commands `recipes …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from projectsetup.cli import completion
from projectsetup.cli.lines import printable
from projectsetup.cli.options import Output, RecipesDir
from projectsetup.cli.output import Format, say, write

recipes = typer.Typer(no_args_is_help=True, help="The recipes that a ProjectSetup can name.")


@recipes.command("list")
def list_all(recipes_dir: RecipesDir = None, output: Output = Format.TABLE) -> None:
    """Show all recipes; one that cannot be used, with the reason."""
    from projectsetup.cli.recipe_view import show_recipes

    show_recipes(recipes_dir, output)


@recipes.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name of the recipe.", autocompletion=completion.silently(completion.recipes)
        ),
    ],
    recipes_dir: RecipesDir = None,
    output: Output = Format.TABLE,
) -> None:
    """Show one recipe: its parameters and its steps."""
    from projectsetup.cli.recipe_view import show_recipe

    show_recipe(name.removeprefix("recipe/"), recipes_dir, output)


@recipes.command()
def lint(file: Annotated[Path, typer.Argument(metavar="FILE", help="A recipe file.")]) -> None:
    """Check a recipe file; exit code 2 and one line when it cannot be used. Warnings leave the exit code 0."""
    from projectsetup.recipes.lint import careless_steps, unportable_steps
    from projectsetup.recipes.loader import read_recipe

    recipe = read_recipe(file)
    for warning in careless_steps(recipe):
        say(printable(f"{file}: warning: {warning}: see docs/recipes.md, Steps with credentials"))
    for warning in unportable_steps(recipe):
        say(printable(f"{file}: warning: {warning}"))
    write(f"{file}: recipe {recipe.name} is fine; its steps: {', '.join(step.name for step in recipe.steps)}")
