"""Tables, fields, times and data as commands print them."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from projectsetup.api.durations import lasting
from projectsetup.cli.output import Format, write_data
from projectsetup.cli.tables import fields, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(width))


@pytest.mark.parametrize(
    ("columns", "rows", "options", "lines"),
    [
        (("ID", "NAME"), [(1, "x"), (22, "[red]y[/red]")], {}, ["ID  NAME", "1   x", "22  [red]y[/red]"]),
        (("A", "B"), [("漢字", "x"), ("abcd", "y")], {}, ["A     B", "漢字  x", "abcd  y"]),
        (("A", "B"), [("", "two\nlines\x1b[2J")], {}, ["A  B", "-  two lines\ufffd[2J"]),
        (("ID", "B"), [("long-id", "x"), ("b", "y")], {"only": [1]}, ["b        y"]),
        (("ID", "NAME"), [(1, "x")], {"spare": ("NAME",)}, ["ID  NAME", "1   x"]),
    ],
    ids=["markup", "wide characters", "control characters", "continued", "a pipe gets all columns"],
)
def test_columns_are_as_wide_as_their_cells(
    monkeypatch: pytest.MonkeyPatch, columns: tuple[str, ...], rows: Any, options: Any, lines: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "5")
    assert table(columns, rows, **options).plain.splitlines() == lines


@pytest.mark.parametrize(("width", "message"), [(40, "m" * 27 + "…"), (20, "m" * 19 + "…")])
def test_a_terminal_cuts_only_the_last_column(monkeypatch: pytest.MonkeyPatch, width: int, message: str) -> None:
    on_terminal(monkeypatch, width)
    header, line = table(("ID", "MESSAGE"), [("0" * 10, "m" * 50)]).plain.splitlines()
    assert (header, line) == ("ID          MESSAGE", "0" * 10 + "  " + message)


@pytest.mark.parametrize(
    ("width", "columns"), [(60, "ID PHASE STEP MESSAGE"), (40, "ID STEP MESSAGE"), (20, "ID STEP"), (5, "ID STEP")]
)
def test_a_narrow_terminal_hides_spare_columns(monkeypatch: pytest.MonkeyPatch, width: int, columns: str) -> None:
    on_terminal(monkeypatch, width)
    row = ("0" * 10, "Running", "test", "m" * 50)
    shown = table(("ID", "PHASE", "STEP", "MESSAGE"), [row], spare=("PHASE", "MESSAGE")).plain
    assert shown.splitlines()[0].split() == columns.split()


@pytest.mark.parametrize(
    ("width", "name", "message"),
    [(90, "n" * 19 + "…", "m" * 50), (60, "n" * 19 + "…", "m" * 25 + "…"), (46, "n" * 11 + "…", "m" * 19 + "…")],
)
def test_an_elastic_column_is_cut_after_the_last_one(
    monkeypatch: pytest.MonkeyPatch, width: int, name: str, message: str
) -> None:
    on_terminal(monkeypatch, width)
    shown = table(("ID", "NAME", "MESSAGE"), [("0" * 10, "n" * 100, "m" * 50)], elastic="NAME").plain
    assert shown.splitlines()[1] == f"{'0' * 10}  {name}  {message}"


def test_empty_fields_are_left_out() -> None:
    assert fields({"Name": "x", "Error": None, "Step": "", "Attempt": 0}).plain == "Name     x\nAttempt  0"


def test_a_terminal_wraps_a_long_field_below_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch, 32)
    shown = fields({"Message": "two of the tests have failed", "Repo": "https://git.example/team/orders.git"}).plain
    assert shown.splitlines() == [
        "Message  two of the tests have",
        "         failed",
        "Repo     https://git.example/team/orders.git",
    ]


def test_data_is_never_markup() -> None:
    file = io.StringIO()
    Console(file=file, width=200).print(fields({"Name": "[red]x[/red] :smile: [link=http://x]"}), soft_wrap=True)
    assert file.getvalue() == "Name  [red]x[/red] :smile: [link=http://x]\n"


@pytest.mark.parametrize(
    ("value", "output", "names", "printed"),
    [
        (
            {"name": "é [red]", "at": "2026-11-24T12:00:00Z", "none": None},
            Format.YAML,
            [],
            "name: é [red]\nat: '2026-11-24T12:00:00Z'\nnone: null\n",
        ),
        ({"name": "é"}, Format.JSON, [], '{\n  "name": "é"\n}\n'),
        ({}, Format.NAME, ["project/1", "project/2"], "project/1\nproject/2\n"),
        ({}, Format.NAME, [], ""),
    ],
)
def test_data_keeps_its_characters(
    capsys: pytest.CaptureFixture[str], value: Any, output: Format, names: list[str], printed: str
) -> None:
    write_data(value, output, names=names)
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0.4, "0s"),
        (59.4, "59s"),
        (60, "1m"),
        (61, "1m1s"),
        (599, "9m59s"),
        (601, "10m"),
        (3600, "1h"),
        (3600 + 720, "1h12m"),
        (11 * 3600 + 720, "11h"),
        (86400 * 2 + 3600 * 3, "2d3h"),
        (86400 * 400, "400d"),
    ],
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == text
