"""Text for a terminal: nothing in it can be anything but text."""

from __future__ import annotations

from typing import Final

from projectsetup.text import without_harm

LONGEST_LINE: Final = 1000


def printable(value: object) -> str:
    """`value` on one line of printable characters: no escape sequence of a foreign program reaches the terminal."""
    return without_harm(" ".join(str(value).split()))


def one_line(value: object) -> str:
    """`value` as a message: printable, and of bounded length."""
    line = printable(value)
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
