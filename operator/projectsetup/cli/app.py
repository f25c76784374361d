"""The application: all commands together, and how what a command raises becomes an exit code and an error line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import PurePath
from typing import Annotated, Any

import typer
from typer.main import get_command

from projectsetup.cli.commands import operator, projects, recipes, setups
from projectsetup.cli.errors import ExitCode, explain
from projectsetup.cli.options import examples
from projectsetup.cli.output import say, write

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        'projects create --name "Order Service" --code-repo https://git.example/team/orders.git',
        "setup $id --wait",
        "status --watch",
    ),
)
for noun in (setups.app, projects.app, recipes.app, operator.queue, operator.app):
    app.add_typer(noun, rich_help_panel=noun.rich_help_panel)


def _print_version(wanted: bool) -> None:
    if wanted:
        from projectsetup.version import version

        write(f"projectsetup {version()}")
        raise typer.Exit


@app.callback()
def _projectsetup(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set up software projects, with one ProjectSetup resource per project.

    Exit codes: 0 done, 1 the setup failed (--wait), 2 usage or bad input, 3 cluster or database unreachable.
    """


def run(arguments: Sequence[str], *, called_as: str) -> int:
    """Run one command and return its exit code. Every error becomes one line on standard error."""
    logging.getLogger().addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    is_plugin = PurePath(called_as).name.startswith("kubectl-")
    name = "kubectl projectsetup" if is_plugin else "projectsetup"
    try:
        command: Any = get_command(app)
        if is_plugin:  # kubectl completes its plugins itself
            command.params = [option for option in command.params if not option.name.endswith("_completion")]
        _finish_help(command, name, typer.Context(command, info_name=name, **command.context_settings))
        code = command.main(args=list(arguments), prog_name=name, standalone_mode=False)
    except Exception as error:  # noqa: BLE001  # users never see a traceback
        code, line = explain(error)
        if line:
            say(f"error: {line}")
    return code if isinstance(code, int) else ExitCode.DONE


def _finish_help(command: Any, name: str, context: typer.Context) -> None:
    """Show flags without a value, and examples with the name that was called."""
    for option in command.get_params(context):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    if command.epilog:
        command.epilog = command.epilog.replace("  projectsetup ", f"  {name} ")
    for word, inner in getattr(command, "commands", {}).items():
        _finish_help(inner, name, typer.Context(inner, info_name=word, parent=context))
