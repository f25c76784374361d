"""Carrying out `recipes list` and `recipes show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from projectsetup.api.durations import format_duration
from projectsetup.cli.output import Format, write_data, write_text
from projectsetup.cli.tables import fields, table
from projectsetup.recipes.errors import InvalidRecipe
from projectsetup.recipes.loader import RecipeBook
from projectsetup.recipes.model import Amounts, Parameter, Recipe, Step


def show_recipes(directory: Path | None, output: Format) -> None:
    """Print all recipes."""
    book = RecipeBook(directory)
    found = [_entry(book, name) for name in book.names()]
    if output is not Format.TABLE:
        write_data(found, output, names=[f"recipe/{entry['name']}" for entry in found])
        return
    rows = [
        (entry["name"], len(entry["steps"]), ",".join(entry["parameters"]), entry["problem"] or entry["description"])
        for entry in found
    ]
    write_text(table(("NAME", "STEPS", "PARAMETERS", "DESCRIPTION"), rows))


def show_recipe(name: str, directory: Path | None, output: Format) -> None:
    """Print one recipe; UnknownRecipe, InvalidRecipe."""
    recipe = RecipeBook(directory).get(name)
    if output is not Format.TABLE:
        value = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
        write_data(value, output, names=[f"recipe/{recipe.name}"])
        return
    text = fields(
        {
            "Name": recipe.name,
            "Description": recipe.description,
            "Image": recipe.image,
            "Workspace": recipe.workspace_size,
            "Requests": _amounts(recipe.resources.requests),
            "Limits": _amounts(recipe.resources.limits),
        }
    )
    if recipe.parameters:
        rows = [_parameter_row(name, parameter) for name, parameter in sorted(recipe.parameters.items())]
        text.append("\n\n").append_text(table(("PARAMETER", "DEFAULT", "PATTERN", "DESCRIPTION"), rows))
    rows = [_step_row(step) for step in recipe.steps]
    text.append("\n\n").append_text(table(("STEP", "STATUS", "TIMEOUT", "CREDENTIALS", "RUN"), rows))
    write_text(text)


def _entry(book: RecipeBook, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "description": "", "parameters": [], "steps": [], "problem": None}
    try:
        recipe: Recipe = book.get(name)
    except InvalidRecipe as exc:
        return entry | {"problem": str(exc)}
    return entry | {
        "description": recipe.description,
        "parameters": sorted(recipe.parameters),
        "steps": [step.name for step in recipe.steps],
    }


def _amounts(amounts: Amounts) -> str:
    return ", ".join(f"{name} {quantity}" for name, quantity in amounts.model_dump(exclude_none=True).items())


def _parameter_row(name: str, parameter: Parameter) -> tuple[str, ...]:
    default = "(required)" if parameter.default is None else parameter.default
    return name, default, parameter.pattern or "", parameter.description


def _step_row(step: Step) -> tuple[str, ...]:
    credentials = "yes" if step.credentials else "no"
    return (
        step.name,
        str(step.status),
        format_duration(step.timeout),
        credentials,
        "; ".join(step.run.strip().splitlines()),
    )
