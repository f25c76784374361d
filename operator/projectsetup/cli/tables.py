"""Tables, lists of fields and times, as text whose data is never interpreted as markup."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from projectsetup.api.durations import lasting
from projectsetup.cli.output import printable

_GAP: Final = "  "
_NARROWEST: Final = 20
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
) -> Text:
    """Columns as wide as their cells; on a terminal the last one is cut at the edge.

    `only` limits it to the rows with these numbers, without the header, to continue a table printed before. A terminal
    that is too narrow loses columns of `spare`, in that order, until the rest fits.
    """
    lines = [list(columns), *([printable(value) or "-" for value in row] for row in rows)]
    available = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    kept = list(range(len(columns)))
    for name in spare:
        if available is None or _min_width(lines, kept) <= available:
            break
        kept.remove(columns.index(name))
    lines = [[line[place] for place in kept] for line in lines]
    widths = _widths(lines)
    if available is not None:
        widths[-1] = min(widths[-1], max(available - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1), _NARROWEST))
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


def _wrapped(value: str, indent: int) -> str:
    if not sys.stdout.isatty():
        return value
    width = max(shutil.get_terminal_size().columns - indent, _NARROWEST)
    return ("\n" + " " * indent).join(textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False))


def _append_line(text: Text, header: Sequence[str], line: Sequence[str], widths: Sequence[int]) -> None:
    for place, cell in enumerate(line):
        is_last = place == len(line) - 1
        colour = _COLOURS.get(cell, "") if header[place] in _COLOURED else ""
        shown = _cut(cell, widths[place]) if is_last else set_cell_size(cell, widths[place]) + _GAP
        text.append(shown, style="bold" if line is header else colour)


def _cut(cell: str, width: int) -> str:
    return cell if cell_len(cell) <= width else set_cell_size(cell, width - 1).rstrip() + "…"


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]


def _min_width(lines: Sequence[Sequence[str]], kept: Sequence[int]) -> int:
    """The width of the columns `kept` when the last one is cut as far as allowed."""
    *widths, last = _widths([[line[place] for place in kept] for line in lines])
    return sum(widths) + len(_GAP) * len(widths) + min(last, _NARROWEST)
