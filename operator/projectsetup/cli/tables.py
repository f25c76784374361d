"""Tables, lists of fields and times, as text whose data is never interpreted as markup."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from projectsetup.api.durations import lasting
from projectsetup.api.steps import StepTime
from projectsetup.cli.output import printable

_GAP: Final = "  "
_ONE_MINUTE: Final = timedelta(minutes=1)
_NARROWEST: Final = 20
_SHORTEST: Final = 12
"""Of the elastic column, which is at most as wide as the last one at its narrowest."""
_COLOURS: Final = {
    "Succeeded": "green",
    "ready": "green",
    "Running": "cyan",
    "BackingOff": "yellow",
    "Suspended": "yellow",
    "Cancelled": "yellow",
    "Failed": "red",
    "failed": "red",
}
_COLOURED: Final = {"PHASE", "STATUS", "OUTCOME"}


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    only: Collection[int] | None = None,
    spare: Sequence[str] = (),
    elastic: str | None = None,
) -> Text:
    """Columns as wide as their cells; on a terminal the last one and the column `elastic` are cut to fit.

    `only` limits it to the rows with these numbers, without the header, to continue a table printed before. A terminal
    that is too narrow loses columns of `spare`, in that order, until the rest fits.
    """
    lines = [list(columns), *([printable("" if value is None else value) or "-" for value in row] for row in rows)]
    available = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    kept = list(range(len(columns)))
    elastic_at = columns.index(elastic) if elastic is not None else None
    for name in spare:
        if available is None or _min_width(lines, kept, elastic_at) <= available:
            break
        if name in columns:
            kept.remove(columns.index(name))
    lines = [[line[place] for place in kept] for line in lines]
    widths = _widths(lines)
    if available is not None:
        places = [len(kept) - 1]
        if elastic_at is not None:
            places.append(kept.index(elastic_at))
            widths[places[1]] = min(widths[places[1]], _NARROWEST)
        for place in places:
            excess = sum(widths) + len(_GAP) * (len(widths) - 1) - available
            widths[place] = min(widths[place], max(widths[place] - excess, _least(place, len(widths))))
    shown = range(len(lines)) if only is None else [number + 1 for number in sorted(only)]
    text = Text(no_wrap=True, overflow="ellipsis")
    for place, number in enumerate(shown):
        text.append("\n" if place else "")
        _append_line(text, lines[0], lines[number], widths)
    return text


def fields(values: Mapping[str, object]) -> Text:
    """One field per line, without those that are empty or None; a terminal wraps long values below their beginning."""
    shown = {name: value for name, value in values.items() if value not in (None, "")}
    width = max(map(len, shown), default=0)
    text = Text(overflow="fold")
    for number, (name, value) in enumerate(shown.items()):
        text.append("\n" if number else "")
        text.append(name.ljust(width) + _GAP, style="bold")
        text.append(_wrapped(printable(value), width + len(_GAP)), style=_COLOURS.get(str(value), ""))
    return text


def moment(time: datetime | None, now: datetime) -> str:
    """`2026-11-24 12:00:00 UTC (5m ago)`, or `(in 12s)`; empty for None."""
    if time is None:
        return ""
    distance = f"in {lasting(time - now)}" if time > now else f"{lasting(now - time)} ago"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({distance})"


def step_times(steps: Iterable[StepTime]) -> str:
    """Steps and how long each took, such as `build 0.9s, test 1m4s`."""
    return ", ".join(printable(f"{step.name} {_took(step)}") for step in steps)


def _took(step: StepTime) -> str:
    took = step.took
    if took is None:
        return ""
    return lasting(took) if took >= _ONE_MINUTE else f"{took.total_seconds():.1f}s"


def _wrapped(value: str, indent: int) -> str:
    if not sys.stdout.isatty():
        return value
    width = max(shutil.get_terminal_size().columns - indent, _NARROWEST)
    return ("\n" + " " * indent).join(textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False))


def _append_line(text: Text, header: Sequence[str], line: Sequence[str], widths: Sequence[int]) -> None:
    for place, cell in enumerate(line):
        is_last = place == len(line) - 1
        colour = _COLOURS.get(cell, "") if header[place] in _COLOURED else ""
        shown = _cut(cell, widths[place])
        shown = shown if is_last else set_cell_size(shown, widths[place]) + _GAP
        text.append(shown, style="bold" if line is header else colour)


def _cut(cell: str, width: int) -> str:
    return cell if cell_len(cell) <= width else set_cell_size(cell, width - 1).rstrip() + "…"


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]


def _least(place: int, number: int) -> int:
    """The width to which a column may be cut: the last one holds a message."""
    return _NARROWEST if place == number - 1 else _SHORTEST


def _min_width(lines: Sequence[Sequence[str]], kept: Sequence[int], elastic: int | None) -> int:
    """The width of the columns `kept` when those that may be cut are cut as far as allowed."""
    widths = _widths([[line[place] for place in kept] for line in lines])
    for place, column in enumerate(kept):
        if column == elastic or place == len(kept) - 1:
            widths[place] = min(widths[place], _least(place, len(kept)))
    return sum(widths) + len(_GAP) * (len(widths) - 1)
