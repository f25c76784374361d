"""What a step prints, as it comes: its last lines, its lines for the log, and whether a line asks for a retry."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from projectsetup.setup.scrub import Scrubber

LINE_BYTES: Final = 8192
"""Longer lines are cut before anything looks at them."""

TAIL_LINES: Final = 50
TAIL_CHARACTERS: Final = 16_384
LOGGED_LINES: Final = 5_000
"""So many lines of a step are handed on as they come; of the rest only the last ones, at its end."""

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]"
)
_KEY_BEGINS: Final = b"PRIVATE KEY-----"
_KEY_ENDS: Final = b"-----END"


class StepOutput:
    """Takes the output in pieces and holds a bounded part of it, however much there is."""

    def __init__(
        self, scrubber: Scrubber, *, retry: Sequence[str] = (), on_line: Callable[[str], None] | None = None
    ) -> None:
        """`retry`: regular expressions to search for in every line. `on_line` is given lines without secrets."""
        self._scrubber = scrubber
        self._retry = [re.compile(pattern) for pattern in retry]
        self._on_line = on_line
        self._unlogged = 0
        self._logged = 0
        self._pending = b""
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._matched: str | None = None
        self._in_key = False

    def feed(self, piece: bytes) -> None:
        """More output."""
        *lines, rest = piece.replace(b"\r", b"\n").split(b"\n")
        if lines:
            lines[0] = self._pending + lines[0]
            if self._in_key or _KEY_BEGINS in piece or _KEY_BEGINS in lines[0]:
                lines = list(self._without_keys(lines))
            self._take(lines)
            self._pending = rest[:LINE_BYTES]
        elif len(self._pending) < LINE_BYTES:
            self._pending = (self._pending + rest)[:LINE_BYTES]

    def close(self) -> None:
        """There is no more output."""
        if self._pending:
            self._take(list(self._without_keys([self._pending])))
            self._pending = b""
        if self._on_line is not None and self._unlogged:
            last = self.tail
            self._on_line(f"{self._unlogged} more lines are not logged; the last of them:")
            for line in last:
                self._on_line(line)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines that are not blank, without secrets and control characters."""
        chosen: list[str] = []
        room = TAIL_CHARACTERS
        for line in map(self._readable, reversed(self._tail)):
            room -= len(line)
            if room < 0:
                break
            chosen.append(line)
        return tuple(reversed(chosen))

    @property
    def matched(self) -> str | None:
        """The first line in which one of the regular expressions was found, without secrets."""
        return self._matched

    def _take(self, lines: list[bytes]) -> None:
        if self._retry and self._matched is None:
            self._matched = self._first_match(lines)
        self._log(lines)
        self._tail.extend(reversed(_last_written(lines)))

    def _first_match(self, lines: Iterable[bytes]) -> str | None:
        for line in lines:
            text = line[:LINE_BYTES].decode("utf-8", "replace")
            if any(pattern.search(text) for pattern in self._retry):
                return self._readable(line)
        return None

    def _log(self, lines: list[bytes]) -> None:
        if self._on_line is None:
            return
        room = max(LOGGED_LINES - self._logged, 0)
        for line in lines[:room]:
            self._on_line(self._readable(line))
        self._logged += min(room, len(lines))
        self._unlogged += max(len(lines) - room, 0)

    def _without_keys(self, lines: Iterable[bytes]) -> Iterable[bytes]:
        for line in lines:
            begins, ends = _KEY_BEGINS in line, _KEY_ENDS in line
            if begins or self._in_key:
                self._in_key = not ends
                yield b"***"
            else:
                yield line

    def _readable(self, line: bytes) -> str:
        text = _CONTROL.sub("", line[:LINE_BYTES].decode("utf-8", "replace"))
        return self._scrubber.scrub_cut(text) if len(line) >= LINE_BYTES else self._scrubber.scrub(text)


def _last_written(lines: Sequence[bytes]) -> list[bytes]:
    """The last lines that are not blank, last first."""
    found: list[bytes] = []
    for line in reversed(lines):
        if line.strip():
            found.append(line[:LINE_BYTES])
            if len(found) == TAIL_LINES:
                break
    return found
