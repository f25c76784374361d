"""The output of a step: what it prints (log lines, last lines, a line that asks for a retry) and what it reports."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from projectsetup.recipes.patterns import line_search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from projectsetup.setup.scrub import Scrubber

LINE_BYTES: Final = 8192
"""Longer lines are cut before anything else happens."""

TAIL_LINES: Final = 50
TAIL_CHARACTERS: Final = 16_384
LOGGED_LINES: Final = 5_000
"""Lines of a step that are logged as they arrive; of the rest only the last ones, at its end."""

HELD_LINES: Final = 64
"""Maximum number of lines held back while a secret may continue on the next line."""

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
)
_KEY_BEGINS: Final = b"PRIVATE KEY-----"
_KEY_ENDS: Final = b"-----END"
_KEY_BODY: Final = re.compile(rb"[A-Za-z0-9+/=]+\r?")

CODE_COMMIT: Final = "CODE_COMMIT"
DOCS_COMMIT: Final = "DOCS_COMMIT"
OUTPUTS_BYTES: Final = 65_536
"""Bytes of a step's outputs file that are read."""
IGNORED_LINES: Final = 5
"""Invalid lines of an outputs file that are logged."""
IGNORED_PREFIX: Final = (
    "[projectsetup] ignored in $STEP_OUTPUTS (expected CODE_COMMIT= or DOCS_COMMIT= and a full commit id): "
)
"""Begins the log lines that name them, here and in stage.sh."""
_IGNORED_CHARACTERS: Final = 200
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def readable(output: bytes) -> str:
    """The printable text of these lines."""
    text = output.decode("utf-8", "replace")
    if "\x1b]" not in text:  # may swallow all that follows it on its line
        return _CONTROL.sub("", text)
    return "\n".join(_CONTROL.sub("", line) for line in text.split("\n"))


class PrivateKeys:
    """Masks private keys, which span lines."""

    def __init__(self, *, inside: bool = False) -> None:
        """`inside`: the first line is within a key."""
        self.inside = inside
        self._may_be_inside = False

    def mask(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines with `***` for each line of a key."""
        if self.inside or self._may_be_inside or any(_KEY_BEGINS in line for line in lines):
            return list(self._masked(lines))
        return lines

    def skip(self) -> None:
        """Lines are missing, which may have begun or ended a key."""
        self.inside, self._may_be_inside = False, True

    def _masked(self, lines: Iterable[bytes]) -> Iterable[bytes]:
        for line in lines:
            begins, ends = _KEY_BEGINS in line, _KEY_ENDS in line
            self._may_be_inside = self._may_be_inside and _KEY_BODY.fullmatch(line) is not None
            if begins or self.inside:
                self.inside = not ends
                yield b"***"
            else:
                yield b"***" if self._may_be_inside else line


class StepOutput:
    """Receives output in chunks and keeps a bounded part of it."""

    def __init__(
        self,
        scrubber: Scrubber,
        *,
        retry: Sequence[str] = (),
        on_line: Callable[[str], None] | None = None,
        on_text: Callable[[bytes, int], None] | None = None,
        line_limit: int = LOGGED_LINES,
        cut: bool = False,
    ) -> None:
        """`retry`: patterns to search for in the bytes of every line. `on_line` receives lines without secrets,
        at most `line_limit` of them and then the last ones.

        `on_text` receives complete lines as they are, but for private keys, and how many they are. `cut`: lines may
        already have been cut at their ends.
        """
        self._scrubber = scrubber
        self._retry = line_search(retry) if retry else None
        self._on_line = on_line
        self._on_text = on_text
        self._cut = cut
        self._held: list[str] = []
        self._line_limit = line_limit
        self._unlogged = 0
        self._logged = 0
        self._pending = b""
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._matched: str | None = None
        self._keys = PrivateKeys()

    def feed(self, chunk: bytes) -> None:
        """Add output."""
        text = self._pending + chunk.replace(b"\r", b"\n")
        end = text.rfind(b"\n") + 1
        self._pending = text[end : end + LINE_BYTES]
        if end:
            self._take(text[:end])

    def add(self, lines: str) -> None:
        """Add complete lines of the operator's own."""
        if lines:
            self.feed(b"\n" * bool(self._pending) + lines.encode())

    def close(self) -> None:
        """End the output: pass on what was held back."""
        if self._pending:
            self._take(self._pending + b"\n")
            self._pending = b""
        if self._on_line is None:
            return
        for line in self._without_secrets(self._held):
            self._on_line(line)
        self._held = []
        if self._unlogged:
            self._on_line(f"{self._unlogged} more lines were not logged; the last of them:")
            for line in self.tail:
                self._on_line(line)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last non-blank lines, without secrets and control characters."""
        chosen: list[str] = []
        space = TAIL_CHARACTERS
        for line in reversed(self._readable(self._tail)):
            space -= len(line)
            if space < 0:
                break
            chosen.append(line)
        return tuple(reversed(chosen))

    @property
    def matched(self) -> str | None:
        """The first line that matches one of the patterns, without secrets."""
        return self._matched

    def _take(self, text: bytes) -> None:
        """Complete lines; they are taken apart only as far as somebody needs them, since there may be many."""
        if self._keys.inside or _KEY_BEGINS in text:
            text = _joined(self._keys.mask(_split(text)))
        if self._retry is not None and self._matched is None:
            match = next(filter(self._retry, (line[:LINE_BYTES] for line in _split(text))), None)
            self._matched = None if match is None else self._readable([match])[0]
        number = text.count(b"\n")
        if self._on_text is not None:
            self._on_text(text, number)
        self._log(text, number)
        self._tail.extend(reversed(_last_lines(text)))

    def _log(self, text: bytes, number: int) -> None:
        if self._on_line is None:
            return
        logged = min(max(self._line_limit - self._logged, 0), number)
        self._logged += logged
        self._unlogged += number - logged
        shown = [*self._held, *self._texts(text.split(b"\n", logged)[:logged])]
        finished = self._finished(shown)
        self._held = shown[finished:]
        for line in self._without_secrets(shown[:finished]):
            self._on_line(line)

    def _finished(self, lines: Sequence[str]) -> int:
        """How many of the lines are complete: a secret may continue after the others."""
        number = len(lines)
        unfinished = self._scrubber.unfinished("".join(lines[-HELD_LINES:]))
        while unfinished > 0 and number > 0:
            number -= 1
            unfinished -= len(lines[number])
        return number

    def _readable(self, lines: Iterable[bytes]) -> list[str]:
        return self._without_secrets(self._texts(lines))

    def _texts(self, lines: Iterable[bytes]) -> list[str]:
        """The printable text of each line, without partial secrets where it was cut."""
        texts = ((line, _CONTROL.sub("", line[:LINE_BYTES].decode("utf-8", "replace"))) for line in lines)
        return [
            self._scrubber.scrub_cut(text) if self._cut or len(line) >= LINE_BYTES else text for line, text in texts
        ]

    def _without_secrets(self, lines: Sequence[str]) -> list[str]:
        """The lines without secrets, including secrets that span lines."""
        return self._scrubber.scrub("\n".join(lines)).split("\n") if lines else []


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"\n".join((*lines, b""))


def _split(text: bytes) -> list[bytes]:
    """Complete lines, each without its end."""
    return text.split(b"\n")[:-1]


def _last_lines(text: bytes) -> list[bytes]:
    """The last non-blank lines of complete ones, in reverse order."""
    lines = text.rsplit(b"\n", 2 * TAIL_LINES)[1:]
    found = _last_non_blank(lines)
    return found if len(found) == TAIL_LINES else _last_non_blank(_split(text))


def _last_non_blank(lines: Sequence[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for line in reversed(lines):
        if line.strip():
            found.append(line[:LINE_BYTES])
            if len(found) == TAIL_LINES:
                break
    return found


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """The valid facts, the last of each kind, and the first invalid lines."""

    facts: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def read_outputs(content: bytes) -> StepOutputs:
    """Parse a step's outputs file, lines of `KEY=VALUE`."""
    facts: dict[str, str] = {}
    ignored: list[str] = []
    for line in content[:OUTPUTS_BYTES].decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() in {CODE_COMMIT, DOCS_COMMIT} and _COMMIT.fullmatch(value.strip()):
            facts[key.strip()] = value.strip()
        elif line.strip() and len(ignored) < IGNORED_LINES:
            ignored.append(line.strip()[:_IGNORED_CHARACTERS])
    return StepOutputs(facts, tuple(ignored))
