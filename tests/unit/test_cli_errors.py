"""Which exit code and which line an exception becomes."""

from __future__ import annotations

from uuid import UUID

import pytest
import typer

from projectsetup.cli.errors import CommandError, ExitCode, explain
from projectsetup.cli.output import LONGEST_LINE, one_line, printable
from projectsetup.kube.errors import (
    ApiConflict,
    ApiForbidden,
    ApiNotFound,
    ApiNotInstalled,
    ApiRejected,
    ApiUnavailable,
    KubeconfigError,
    SetupNotFound,
)
from projectsetup.projects import (
    DatabaseUnavailable,
    InvalidDatabaseUrl,
    InvalidProject,
    MigrationFailed,
    NoSuchProject,
    Owner,
    ProjectBusy,
    ProjectNotClaimable,
    ProjectOwned,
    ProjectStatus,
)
from projectsetup.recipes.errors import InvalidParameters, InvalidRecipe, UnknownRecipe
from projectsetup.settings import InvalidSettings

ID = UUID("0b6f1c1e-5a43-4d0c-8e3e-5ad5f0f2a001")
BAD_INPUT = [
    *(kind("x") for kind in (CommandError, typer.BadParameter, ApiNotFound, ApiRejected, KubeconfigError)),
    *(kind("x") for kind in (InvalidRecipe, UnknownRecipe, InvalidParameters, InvalidSettings, InvalidDatabaseUrl)),
    *(kind("x") for kind in (InvalidProject, MigrationFailed)),
    *(SetupNotFound("default", str(ID)), NoSuchProject(ID), ProjectNotClaimable(ID, ProjectStatus.READY)),
    *(ProjectOwned(ID, Owner("u", "ns", "n")), ProjectBusy(ID, ProjectStatus.TESTING)),
    OSError(98, "Address already in use"),
]
UNREACHABLE = [kind("x") for kind in (ApiUnavailable, ApiForbidden, ApiConflict, ApiNotInstalled, DatabaseUnavailable)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        *((error, ExitCode.BAD_INPUT) for error in BAD_INPUT),
        *((error, ExitCode.UNREACHABLE) for error in UNREACHABLE),
        (CommandError("the setup failed", ExitCode.FAILED), ExitCode.FAILED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_an_exit_code_and_keeps_its_text(error: Exception, code: ExitCode) -> None:
    text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
    assert explain(error) == (code, text)
    assert text


def test_an_internal_error_names_class_and_place_but_no_data() -> None:
    class Unreadable:
        def __str__(self) -> str:
            raise TypeError("geheim")

    with pytest.raises(TypeError) as caught:
        one_line(Unreadable())
    code, line = explain(caught.value)
    assert code == ExitCode.FAILED
    assert line.startswith("internal error, please report it: TypeError at projectsetup/cli/output.py:")
    assert "geheim" not in line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\n two\t\r\nthree ", "one two three"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("a\u202eb\x00\x9bc", "a\ufffdb\ufffd\ufffdc"),
        ("漢字 [red] é", "漢字 [red] é"),
        ("👩\u200d👧 می\u200cشود \u00ad", "👩\u200d👧 می\u200cشود \u00ad"),
        ("a\u2066b\u2028c", "a\ufffdb c"),
        ("", ""),
    ],
)
def test_text_becomes_one_printable_line(text: str, line: str) -> None:
    assert printable(text) == line
    assert one_line(text) == line


def test_a_long_or_multi_line_message_becomes_one_line() -> None:
    assert one_line("x" * 5000) == "x" * (LONGEST_LINE - 1) + "…"
    assert explain(ApiRejected("denied:\n  line two")) == (ExitCode.BAD_INPUT, "denied: line two")


def test_exit_codes_keep_their_numbers() -> None:
    codes = (ExitCode.DONE, ExitCode.FAILED, ExitCode.BAD_INPUT, ExitCode.UNREACHABLE)
    assert [int(code) for code in codes] == [0, 1, 2, 3]
