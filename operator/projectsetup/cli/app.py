"""All commands together, and the way from what a command raises to exit code and error line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import PurePath
from typing import Annotated

import typer
from typer.main import get_command

from projectsetup.cli import administration, setups
from projectsetup.cli.dashboard import dashboard
from projectsetup.cli.errors import ExitCode, explain
from projectsetup.cli.help_pages import arrange
from projectsetup.cli.output import say, write
from projectsetup.cli.projects import projects
from projectsetup.cli.queue import queue
from projectsetup.cli.recipes import recipes
from projectsetup.cli.status import status

_SETUPS, _RECORDS, _OPERATOR = PANELS = ("Setups", "Projects and recipes", "Operator")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from projectsetup.version import version

        write(version())
        raise typer.Exit


@app.callback()
def _projectsetup(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Set up software projects, one ProjectSetup resource a project.

    Exit codes: 0 done, 1 the setup failed (--wait), 2 usage or bad input, 3 cluster or database unreachable.
    """


app.command(rich_help_panel=_SETUPS)(setups.setup)
app.command(rich_help_panel=_SETUPS)(status)
app.command(rich_help_panel=_SETUPS)(dashboard)
app.command(rich_help_panel=_SETUPS)(setups.retry)
app.command(rich_help_panel=_SETUPS)(setups.cancel)
app.add_typer(projects, name="projects", rich_help_panel=_RECORDS)
app.add_typer(recipes, name="recipes", rich_help_panel=_RECORDS)
app.add_typer(queue, name="queue", rich_help_panel=_OPERATOR)
app.command(rich_help_panel=_OPERATOR)(administration.operator)
app.command(rich_help_panel=_OPERATOR)(administration.migrate)
app.command(rich_help_panel=_OPERATOR)(administration.crd)


def run(arguments: Sequence[str], *, called_as: str) -> int:
    """Carry out one command; its exit code. Every error becomes one line on standard error."""
    logging.getLogger().addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    of_kubectl = PurePath(called_as).name.startswith("kubectl-")
    name = "kubectl projectsetup" if of_kubectl else "projectsetup"
    try:
        command = get_command(app)
        arrange(command, name, PANELS, of_kubectl=of_kubectl)
        code = command.main(args=list(arguments), prog_name=name, standalone_mode=False)
    except Exception as error:  # noqa: BLE001  # nobody is to see a traceback
        code, line = explain(error)
        if line:
            say(f"error: {line}")
    return code if isinstance(code, int) else ExitCode.DONE
