"""From an exception to an exit code and one line: the only place that decides it."""

from __future__ import annotations

import traceback
from enum import IntEnum
from pathlib import Path
from typing import Final

import typer

from projectsetup.cli.output import OutputClosed, one_line
from projectsetup.kube.errors import ApiNotFound, ApiNotInstalled, ApiRejected, ClusterError, KubeconfigError
from projectsetup.recipes.errors import RecipeError

_PACKAGE: Final = str(Path(__file__).parents[1])


class ExitCode(IntEnum):
    """What the exit codes mean to scripts."""

    DONE = 0
    FAILED = 1
    """With `--wait`: the setup failed, was cancelled, was deleted or timed out. Also an internal error."""
    BAD_INPUT = 2
    """Usage, input, or the state of the project or ProjectSetup does not allow the command."""
    UNREACHABLE = 3
    """Cluster or database cannot be reached, refuses access, or lacks what `crd` and `migrate` install."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CommandError(Exception):
    """A command cannot do what was asked; the text is one line."""

    def __init__(self, text: str, code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(text)
        self.code = code


def explain(error: Exception) -> tuple[ExitCode, str]:
    """The exit code and the line for standard error; the line is empty if there is nothing to add."""
    if isinstance(error, OutputClosed):
        return ExitCode.BROKEN_PIPE, ""
    if isinstance(error, typer.TyperException):
        return ExitCode.BAD_INPUT, one_line(_usage(error))
    code = _code_of(error)
    if code is None:
        return ExitCode.FAILED, f"internal error, please report it: {type(error).__name__} at {_place(error)}"
    return code, one_line(error) or type(error).__name__


def _code_of(error: Exception) -> ExitCode | None:
    match error:
        case CommandError():
            return error.code
        case ApiNotFound() | ApiRejected() | KubeconfigError() | RecipeError() | OSError():
            return ExitCode.UNREACHABLE if isinstance(error, ApiNotInstalled) else ExitCode.BAD_INPUT
        case ClusterError():
            return ExitCode.UNREACHABLE
    # These modules take long to import; a command that raises their errors has imported them already.
    from projectsetup.projects.errors import DatabaseUnavailable, RecordError
    from projectsetup.settings import InvalidSettings

    match error:
        case DatabaseUnavailable():
            return ExitCode.UNREACHABLE
        case RecordError() | InvalidSettings():
            return ExitCode.BAD_INPUT
    return None


def _usage(error: typer.TyperException) -> str:
    text = error.format_message().replace(": Value error, ", ": ")
    context = getattr(error, "ctx", None)
    explains_itself = not text or text.startswith("Invalid value")
    return text if explains_itself or context is None else f"{text.rstrip('.')}; see {context.command_path} --help"


def _place(error: Exception) -> str:
    """File and line where the error was raised; never the data, which may hold a secret."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_PACKAGE)]
    return f"projectsetup{frames[-1].filename.removeprefix(_PACKAGE)}:{frames[-1].lineno}" if frames else "startup"
