"""The commands `recipes …`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from projectsetup.api.durations import format_duration
from projectsetup.cli import completion
from projectsetup.cli.options import Output, RecipesDir, examples, parameters
from projectsetup.cli.output import Format, printable, say, write, write_data, write_text

if TYPE_CHECKING:
    from projectsetup.recipes.lint import Finding
    from projectsetup.recipes.loader import RecipeBook
    from projectsetup.recipes.model import Amounts, Parameter, Recipe, Step

app = typer.Typer(
    name="recipes",
    no_args_is_help=True,
    rich_help_panel="Projects and recipes",
    help="Recipes that a ProjectSetup can name.",
)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of the recipe.", autocompletion=completion.completing(completion.recipes)
    ),
]


@app.command("list")
def list_all(recipes_dir: RecipesDir = None, output: Output = Format.TABLE) -> None:
    """List all recipes, and say why one cannot be used."""
    from projectsetup.cli.tables import table
    from projectsetup.recipes.loader import RecipeBook

    book = RecipeBook(recipes_dir)
    found = [_entry(book, name) for name in book.names()]
    if output is not Format.TABLE:
        write_data(found, output, names=[f"recipe/{entry['name']}" for entry in found])
        return
    rows = [
        (entry["name"], len(entry["steps"]), ",".join(entry["parameters"]), entry["problem"] or entry["description"])
        for entry in found
    ]
    write_text(table(("NAME", "STEPS", "PARAMETERS", "DESCRIPTION"), rows))


@app.command()
def show(
    name: _Name,
    recipes_dir: RecipesDir = None,
    output: Output = Format.TABLE,
) -> None:
    """Show the parameters and steps of one recipe."""
    from projectsetup.cli.tables import fields, table
    from projectsetup.recipes.loader import RecipeBook

    recipe = RecipeBook(recipes_dir).get(name.removeprefix("recipe/"))
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
        rows = [_parameter_row(*item) for item in sorted(recipe.parameters.items())]
        text.append("\n\n").append_text(table(("PARAMETER", "DEFAULT", "PATTERN", "DESCRIPTION"), rows))
    rows = [_step_row(step) for step in recipe.steps]
    text.append("\n\n").append_text(table(("STEP", "STATUS", "TIMEOUT", "CREDENTIALS", "RUN"), rows))
    write_text(text)


@app.command(epilog=examples("recipes lint recipes/web-service.yaml"))
def lint(file: Annotated[Path, typer.Argument(metavar="FILE", help="A recipe file.")]) -> None:
    """Check a recipe file; exit code 2 if it cannot be used. Warnings do not change the exit code."""
    from projectsetup.recipes.loader import read_recipe

    recipe = read_recipe(file)
    _warn(recipe, file)
    write(f"{file}: recipe {recipe.name} is valid; steps: {', '.join(step.name for step in recipe.steps)}")


@app.command(epilog=examples("recipes new web-service"))
def new(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the recipe.")]) -> None:
    """Write a commented recipe to NAME.yaml in this directory, with a schema for editors beside it."""
    from projectsetup.cli.errors import CommandError
    from projectsetup.recipes.loader import RecipeBook
    from projectsetup.recipes.new import SCHEMA_FILE, new_recipe, schema_text
    from projectsetup.version import version

    file, schema = Path(f"{name}.yaml"), Path(SCHEMA_FILE)
    text = new_recipe(name, version())
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError as exc:
        raise CommandError(f"{file} exists already; choose another name or folder") from exc
    except OSError as exc:
        raise CommandError(f"{file} cannot be written in this folder: {exc.strerror}") from exc
    if name in RecipeBook().names():
        say(f"{file}: warning: in an operator's folder of recipes, it replaces the built-in recipe {name}")
    write(f"{file}: written; change it, then run `projectsetup recipes try {file}`")
    if not schema.exists():
        schema.write_text(schema_text(), encoding="utf-8")
        write(f"{schema}: written; editors check recipes in this folder with it")


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipe files, with which editors check them."""
    from projectsetup.recipes.new import schema_text

    write(schema_text())


@app.command("try", epilog=examples("recipes try web-service.yaml --param team=payments", "recipes try python-service"))
def try_recipe(  # noqa: PLR0917  # each is an option
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME",
            help="A recipe file, or the name of a recipe.",
            autocompletion=completion.completing(completion.recipes_and_files),
        ),
    ],
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter of the recipe; can be repeated.")
    ] = None,
    project_name: Annotated[str, typer.Option(metavar="N", help="Name of the project.")] = "Example Project",
    no_docs_repo: Annotated[
        bool, typer.Option("--no-docs-repo", help="Try a project without a documentation repository.")
    ] = False,
    keep: Annotated[bool, typer.Option(help="Keep the workspace and both repositories, and print where.")] = False,
    recipes_dir: RecipesDir = None,
) -> None:
    """Run a recipe once on this machine, without a cluster or database.

    The steps run as they would with the local engine, in a fresh workspace, with two bare repositories made for it. The
    exit code is that of `setup --wait`. Ctrl-C stops everything.
    """
    from projectsetup.cli.errors import CommandError
    from projectsetup.recipes.loader import RecipeBook, read_recipe

    if sys.platform != "linux":
        raise CommandError("recipes try needs Linux; run it in a container or a virtual machine")
    from projectsetup.cli.recipe_trial import try_recipe

    file = Path(recipe)
    if file.suffix in {".yaml", ".yml"} or "/" in recipe:
        found = read_recipe(file)
        _warn(found, file)
    else:
        found = RecipeBook(recipes_dir).get(recipe)
    asyncio.run(try_recipe(found, parameters(param), project_name, docs_repo=not no_docs_repo, keep=keep))


def _warn(recipe: Recipe, file: Path) -> None:
    """Say what will not work, is not safe, or may change, in a recipe that is valid."""
    from projectsetup.recipes.lint import unpinned_images, unportable_steps, unsafe_steps
    from projectsetup.recipes.reading import read_text, script_lines

    begins = script_lines(read_text(file))

    def warn(finding: Finding, hint: str = "") -> None:
        begin = begins.get(finding.step)
        place = file if finding.line is None or begin is None else f"{file}:{begin + finding.line - 1}"
        say(printable(f"{place}: warning: {finding}{hint}"))

    for finding in unsafe_steps(recipe):
        warn(finding, "; see docs/recipes.md, Steps with credentials")
    for finding in unportable_steps(recipe):
        warn(finding)
    for warning in unpinned_images(recipe):
        say(printable(f"{file}: warning: {warning}"))


def _entry(book: RecipeBook, name: str) -> dict[str, Any]:
    from projectsetup.recipes.errors import InvalidRecipe

    entry: dict[str, Any] = {"name": name, "description": "", "parameters": [], "steps": [], "problem": None}
    try:
        recipe = book.get(name)
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
    script = "; ".join(step.run.strip().splitlines())
    return step.name, str(step.status), format_duration(step.timeout), credentials, script
