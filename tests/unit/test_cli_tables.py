"""Tables, fields and times as text."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from projectsetup.api.durations import lasting
from projectsetup.cli.output import Format, is_terminal, write_data, write_text
from projectsetup.cli.tables import fields, moment, table

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_columns_are_as_wide_as_they_need() -> None:
    text = table(("ID", "NAME"), [(1, "x"), (22, "[red]long[/red] one")]).plain
    assert text.splitlines() == ["ID  NAME", "1   x", "22  [red]long[/red] one"]


def test_wide_characters_take_two_cells() -> None:
    assert table(("A", "B"), [("漢字", "x"), ("abcd", "y")]).plain.splitlines() == ["A     B", "漢字  x", "abcd  y"]


def test_only_what_tells_of_an_end_has_a_colour() -> None:
    text = table(("NAME", "PHASE"), [("Failed", "Failed"), ("Succeeded", "Queued")])
    coloured = [(text.plain[span.start : span.end], span.style) for span in text.spans if span.style != "bold"]
    assert [(word.strip(), style) for word, style in coloured if style] == [("Failed", "red")]


def test_an_empty_cell_is_a_dash_and_every_row_one_line() -> None:
    assert table(("A", "B"), [("", "two\nlines\x1b[2J")]).plain.splitlines() == ["A  B", "-  two lines\ufffd[2J"]


def test_a_table_that_goes_on_keeps_its_widths() -> None:
    rows = [("long-id", "x"), ("b", "y")]
    assert table(("ID", "B"), rows, only=[1]).plain == "b        y"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_the_last_column_is_cut_at_the_edge_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    (header, line) = table(("ID", "MESSAGE"), [("0" * 10, "m" * 50)]).plain.splitlines()
    assert header == "ID          MESSAGE"
    assert line == "0" * 10 + "  " + "m" * 27 + "…"
    monkeypatch.setenv("COLUMNS", "20")
    assert table(("ID", "MESSAGE"), [("0" * 10, "m" * 50)]).plain.splitlines()[1] == "0" * 10 + "  " + "m" * 19 + "…"


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (60, ["ID", "PHASE", "STEP", "MESSAGE"]),
        (40, ["ID", "STEP", "MESSAGE"]),
        (20, ["ID", "STEP"]),
        (5, ["ID", "STEP"]),
    ],
)
def test_a_narrow_terminal_does_without_what_can_be_spared(
    monkeypatch: pytest.MonkeyPatch, width: int, columns: list[str]
) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(width))
    row = ("0" * 10, "Running", "test", "m" * 50)
    shown = table(("ID", "PHASE", "STEP", "MESSAGE"), [row], spare=("PHASE", "MESSAGE")).plain
    assert shown.splitlines()[0].split() == columns


def test_a_pipe_gets_all_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "5")
    assert table(("ID", "NAME"), [(1, "x")], spare=("NAME",)).plain.splitlines()[0] == "ID  NAME"


def test_fields_leave_out_what_is_not_there() -> None:
    assert fields({"Name": "x", "Error": None, "Step": "", "Attempt": 0}).plain == "Name     x\nAttempt  0"


def test_on_a_terminal_a_long_field_goes_on_below_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "32")
    shown = fields({"Message": "two of the tests have failed", "Repo": "https://git.example/team/orders.git"}).plain
    assert shown.splitlines() == [
        "Message  two of the tests have",
        "         failed",
        "Repo     https://git.example/team/orders.git",
    ]


def test_nothing_of_the_data_is_taken_for_markup() -> None:
    file = io.StringIO()
    Console(file=file, width=200).print(fields({"Name": "[red]x[/red] :smile: [link=http://x]"}), soft_wrap=True)
    assert file.getvalue() == "Name  [red]x[/red] :smile: [link=http://x]\n"


def test_text_is_neither_cut_nor_wrapped_nor_padded(capsys: pytest.CaptureFixture[str]) -> None:
    write_text(table(("A", "B"), [("x" * 150, "y" * 150), ("x", "y")]))
    assert capsys.readouterr().out.splitlines()[1:] == ["x" * 150 + "  " + "y" * 150, "x" + " " * 151 + "y"]


@pytest.mark.parametrize(("term", "screen"), [("xterm", True), ("dumb", False)])
def test_a_screen_is_a_terminal_that_can_be_drawn_anew(
    monkeypatch: pytest.MonkeyPatch, term: str, *, screen: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    assert is_terminal(Terminal()) is screen
    assert not is_terminal(io.StringIO())


def test_values_keep_their_characters(capsys: pytest.CaptureFixture[str]) -> None:
    write_data({"name": "é [red]", "at": "2026-11-24T12:00:00Z", "none": None}, Format.YAML, names=[])
    assert capsys.readouterr().out == "name: é [red]\nat: '2026-11-24T12:00:00Z'\nnone: null\n"
    write_data({"name": "é"}, Format.JSON, names=[])
    assert capsys.readouterr().out == '{\n  "name": "é"\n}\n'


@pytest.mark.parametrize(("names", "printed"), [(["project/1", "project/2"], "project/1\nproject/2\n"), ([], "")])
def test_names_are_a_line_each(capsys: pytest.CaptureFixture[str], names: list[str], printed: str) -> None:
    write_data({}, Format.NAME, names=names)
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


def test_moments_as_people_say_them() -> None:
    assert moment(None, NOON) == ""
    assert moment(NOON - timedelta(minutes=5), NOON) == "2026-11-24 11:55:00 UTC (5m ago)"
    assert moment(NOON + timedelta(seconds=12), NOON) == "2026-11-24 12:00:12 UTC (in 12s)"
