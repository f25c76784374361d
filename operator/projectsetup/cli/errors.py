"""From an exception to an exit code and one line: the one place where that is decided."""

from __future__ import annotations

import traceback
from enum import IntEnum
from pathlib import Path
from typing import Final

import typer

from projectsetup.cli.lines import one_line
from projectsetup.kube.errors import ApiNotFound, ApiRejected, ClusterError, KubeconfigError
from projectsetup.recipes.errors import RecipeError

_PACKAGE: Final = str(Path(__file__).parents[1])


class ExitCode(IntEnum):
    """What the exit codes mean to scripts."""

    DONE = 0
    FAILED = 1
    """With `--wait`: the setup failed, was cancelled or deleted, or is not over in time. Also a bug of ours."""
    BAD_INPUT = 2
    """What was asked for cannot be done: usage, input, or the state of what it is about."""
    UNREACHABLE = 3
    """Cluster or database cannot be reached, does not let us in, or lacks what `migrate` and `crd` install."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CommandError(Exception):
    """A command cannot do what it was asked; the text is one line."""

    def __init__(self, text: str, code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(text)
        self.code = code


class NotInstalled(ClusterError):
    """The cluster does not know ProjectSetups."""

    def __init__(self) -> None:
        super().__init__(
            "the cluster does not know ProjectSetups: install them with kubectl apply -f crds/, "
            "or projectsetup crd | kubectl apply -f -"
        )


def explain(error: Exception) -> tuple[ExitCode, str]:
    """The exit code, and the one line for standard error; an empty line means that all was said."""
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
        case ApiNotFound() | ApiRejected() | KubeconfigError() | RecipeError():
            return ExitCode.BAD_INPUT
        case ClusterError():
            return ExitCode.UNREACHABLE
        case OSError():
            return ExitCode.BAD_INPUT
    return _code_of_heavy(error)


def _code_of_heavy(error: Exception) -> ExitCode | None:
    """The errors of modules that take long to import; who raised them has imported them already."""
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
    """Where it came up: file and line, but nothing of what was worked on, which may hold a secret."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_PACKAGE)]
    return f"projectsetup{frames[-1].filename.removeprefix(_PACKAGE)}:{frames[-1].lineno}" if frames else "startup"
