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

HELD_LINES: Final = 64
"""So many lines at most are held back until it is known whether a secret goes on in the next."""

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
)
_KEY_BEGINS: Final = b"PRIVATE KEY-----"
_KEY_ENDS: Final = b"-----END"


class StepOutput:
    """Takes the output in pieces and holds a bounded part of it, however much there is."""

    def __init__(
        self,
        scrubber: Scrubber,
        *,
        retry: Sequence[str] = (),
        on_line: Callable[[str], None] | None = None,
        cut: bool = False,
    ) -> None:
        """`retry`: patterns to search for in the bytes of every line. `on_line` is given lines without secrets.

        `cut`: any line may have been cut at its ends before it comes here.
        """
        self._scrubber = scrubber
        self._retry = [re.compile(pattern.encode()) for pattern in retry]
        self._on_line = on_line
        self._cut = cut
        self._held: list[str] = []
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

    def add(self, lines: str) -> None:
        """Complete lines of ours, after what has come so far."""
        if lines:
            self.feed(b"\n" * bool(self._pending) + lines.encode())

    def close(self) -> None:
        """There is no more output."""
        if self._pending:
            self._take(list(self._without_keys([self._pending])))
            self._pending = b""
        if self._on_line is None:
            return
        for line in self._without_secrets(self._held):
            self._on_line(line)
        self._held = []
        if self._unlogged:
            self._on_line(f"{self._unlogged} more lines are not logged; the last of them:")
            for line in self.tail:
                self._on_line(line)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines that are not blank, without secrets and control characters."""
        chosen: list[str] = []
        room = TAIL_CHARACTERS
        for line in reversed(self._readable(self._tail)):
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
            if any(pattern.search(line, 0, LINE_BYTES) for pattern in self._retry):
                return self._readable([line])[0]
        return None

    def _log(self, lines: list[bytes]) -> None:
        if self._on_line is None:
            return
        room = max(LOGGED_LINES - self._logged, 0)
        self._logged += min(room, len(lines))
        self._unlogged += max(len(lines) - room, 0)
        shown = [*self._held, *self._texts(lines[:room])]
        finished = self._finished(shown)
        self._held = shown[finished:]
        for line in self._without_secrets(shown[:finished]):
            self._on_line(line)

    def _finished(self, lines: Sequence[str]) -> int:
        """So many of the lines hold no beginning of a secret that may go on in the next one."""
        number = len(lines)
        unfinished = self._scrubber.unfinished("".join(lines[-HELD_LINES:]))
        while unfinished > 0 and number > 0:
            number -= 1
            unfinished -= len(lines[number])
        return number

    def _without_keys(self, lines: Iterable[bytes]) -> Iterable[bytes]:
        for line in lines:
            begins, ends = _KEY_BEGINS in line, _KEY_ENDS in line
            if begins or self._in_key:
                self._in_key = not ends
                yield b"***"
            else:
                yield line

    def _readable(self, lines: Iterable[bytes]) -> list[str]:
        return self._without_secrets(self._texts(lines))

    def _texts(self, lines: Iterable[bytes]) -> list[str]:
        """What can be printed of each line; at the ends where it was cut, no part of a secret."""
        texts = ((line, _CONTROL.sub("", line[:LINE_BYTES].decode("utf-8", "replace"))) for line in lines)
        return [
            self._scrubber.scrub_cut(text) if self._cut or len(line) >= LINE_BYTES else text for line, text in texts
        ]

    def _without_secrets(self, lines: Sequence[str]) -> list[str]:
        """The lines without secrets, those included that go on from one line to the next."""
        return self._scrubber.scrub("\n".join(lines)).split("\n") if lines else []


def _last_written(lines: Sequence[bytes]) -> list[bytes]:
    """The last lines that are not blank, last first."""
    found: list[bytes] = []
    for line in reversed(lines):
        if line.strip():
            found.append(line[:LINE_BYTES])
            if len(found) == TAIL_LINES:
                break
    return found
