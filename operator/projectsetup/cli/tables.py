"""Tables and lists of fields, as text that nothing in the data can turn into something else."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from projectsetup.cli.lines import printable

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
    """Columns side by side as wide as they need; on a terminal the last one is cut at its edge.

    With `only`, the rows with these numbers alone and no header, to go on with a table that was printed. A terminal
    that is too narrow does without the columns `spare`, the first one first, as many as it takes.
    """
    lines = [list(columns), *([printable(value) or "-" for value in row] for row in rows)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    kept = list(range(len(columns)))
    for name in spare:
        if room is None or _least_width(lines, kept) <= room:
            break
        kept.remove(columns.index(name))
    lines = [[line[place] for place in kept] for line in lines]
    widths = _widths(lines)
    if room is not None:
        widths[-1] = min(widths[-1], max(room - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1), _NARROWEST))
    shown = range(len(lines)) if only is None else [number + 1 for number in sorted(only)]
    text = Text(no_wrap=True, overflow="ellipsis")
    for place, number in enumerate(shown):
        text.append("\n" if place else "")
        _append_line(text, lines[0], lines[number], widths)
    return text


def fields(values: Mapping[str, object]) -> Text:
    """One field a line, those that are empty or None left out; on a terminal long ones go on below their beginning."""
    shown = {name: value for name, value in values.items() if value not in (None, "")}
    width = max(map(len, shown), default=0)
    text = Text(overflow="fold")
    for number, (name, value) in enumerate(shown.items()):
        text.append("\n" if number else "")
        text.append(name.ljust(width) + _GAP, style="bold")
        text.append(_wrapped(printable(value), width + len(_GAP)), style=_COLOURS.get(str(value), ""))
    return text


def _wrapped(value: str, indent: int) -> str:
    if not sys.stdout.isatty():
        return value
    room = max(shutil.get_terminal_size().columns - indent, _NARROWEST)
    return ("\n" + " " * indent).join(textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False))


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


def _least_width(lines: Sequence[Sequence[str]], kept: Sequence[int]) -> int:
    """What the columns `kept` need when the last one is cut as far as it may be."""
    *widths, last = _widths([[line[place] for place in kept] for line in lines])
    return sum(widths) + len(_GAP) * len(widths) + min(last, _NARROWEST)
