"""The log of one container as the kubelet sends it: each line begins with the time at which it was printed.

A log can be read again from the whole second of its last line on. What was read before comes first then and is left
out: so many lines, counted from the first with the time of the last one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from projectsetup.engines.kubernetes_job.outcome import announced_step
from projectsetup.setup.output import LINE_BYTES, PrivateKeys, readable

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.plan import PlannedStage
    from projectsetup.setup.log import AttemptLog

MISSING: Final = "[projectsetup] output is missing here: {why}"
DELETED: Final = "the node had deleted it before it was read"
WITHHELD: Final = (
    "[projectsetup] the output of step {step} is not kept, because the operator may not read Secret {secret}"
)

_MARK: Final = b"[projectsetup] step "
_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")
_UTC_STAMP: Final = len("2026-01-01T00:00:00.123456789Z")
_SECOND: Final = len("2026-01-01T00:00:00")
_MICROSECOND: Final = len("2026-01-01T00:00:00.123456")
_LONGEST_REASON: Final = 300
_LONGEST: Final = LINE_BYTES + 64
"""Bytes of a line that are read, with its time."""


class Unreadable(Exception):
    """Instead of the log, the kubelet sent a line that says why it cannot."""


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where the logs of the containers of an attempt were read: in which container, and in which of its steps.

    `taken` lines from the first at time `at` on were read; before the first line `at` is empty. `in_key`: the last one
    is within a private key.
    """

    pod: str
    container: str
    step: str
    at: str = ""
    taken: int = 0
    in_key: bool = False

    @classmethod
    def read(cls, position: Mapping[str, Any]) -> Self:
        """Read what `written` returns."""
        return cls(**position)

    def written(self) -> dict[str, Any]:
        """The place as JSON values, as it is stored with the log."""
        return asdict(self)

    @property
    def since(self) -> str | None:
        """The time from which the log must be read again; None: from its beginning."""
        return f"{self.at[:_SECOND]}Z" if self.at else None


class ContainerLog:
    """Receives the log of a container, from its beginning or from `place` on, and adds what is new to `log`.

    `on_step` is called with the name of each step that begins. `secret` names the Secret whose values the output may
    contain and the operator does not know: then only the times of the steps are kept.
    """

    def __init__(
        self,
        stage: PlannedStage,
        place: Place,
        log: AttemptLog,
        on_step: Callable[[str], None],
        *,
        secret: str | None = None,
    ) -> None:
        self._begun = place
        self._step, self._at, self._taken = place.step, place.at, place.taken
        self._log = log
        self._on_step = on_step
        self._secret = secret
        names = [step.name for step in stage.steps]
        self._to_come = names[names.index(place.step) + bool(place.at) :]
        self._keys = PrivateKeys(inside=place.in_key)
        self._lines = _Lines()
        self._to_skip = 0
        self._found = True
        self._count, self._bytes = 0, 0

    @property
    def place(self) -> Place:
        """Up to where the log was read."""
        return replace(self._begun, step=self._step, at=self._at, taken=self._taken, in_key=self._keys.inside)

    @property
    def is_at_last_step(self) -> bool:
        """Whether every step of the container has begun."""
        return not self._to_come

    @property
    def last_at(self) -> datetime | None:
        """The time of the last line, by the clock of the node."""
        return _time(self._at) if self._at else None

    @property
    def bytes_per_line(self) -> int:
        """The average since the log was opened."""
        return max(self._bytes // max(self._count, 1), 1)

    def open(self) -> None:
        """The log is read again, from `place.since` on."""
        self._lines = _Lines()
        self._to_skip = self._taken
        self._found = not self._at
        self._count, self._bytes = 0, 0

    def feed(self, piece: bytes) -> None:
        """Add a piece of the log. Raises Unreadable."""
        lines = self._lines.feed(piece)
        self._count += len(lines)
        self._bytes += len(piece)
        self._take(lines)

    def close(self) -> None:
        """The container has ended, and all was read. Raises Unreadable."""
        self._take(self._lines.rest())
        if not self._found:
            self.miss(DELETED)

    def miss(self, why: str) -> None:
        """Say that an unknown part of the log is missing here."""
        self._found, self._to_skip = True, 0
        self._keys.skip()
        self._log.add_missing(self._step, MISSING.format(why=why), position=self.place.written())

    def _take(self, lines: list[bytes]) -> None:
        """Add the new ones of these lines in groups of one second and one step."""
        group: list[bytes] = []
        size, second = 0, self._at[:_SECOND]
        for line in lines:
            at, text = _stamped(line)
            if not at:
                self._add(group)
                raise Unreadable(readable(text)[:_LONGEST_REASON])
            if not (self._found and self._to_skip == 0) and self._was_taken(at):
                continue
            announced = announced_step(text) if text.startswith(_MARK) else None
            begins = announced in self._to_come
            if group and (begins or not at.startswith(second) or size + len(text) >= self._log.piece_bytes):
                self._add(group)
                group, size = [], 0
            self._advance(at)
            second = self._at[:_SECOND]
            if announced is not None and begins:
                self._begin(announced)
            else:
                group += text.rstrip(b"\r").split(b"\r")
                size += len(text) + 1
        self._add(group)

    def _advance(self, at: str) -> None:
        """A line of this time is taken; the times of two streams may be slightly out of order."""
        if at > self._at:
            self._at, self._taken = at, 1
        elif at[:_SECOND] >= self._at[:_SECOND]:
            self._taken += 1

    def _was_taken(self, at: str) -> bool:
        """Whether the line of this time was taken before; if lines after the last one are missing, the log says so."""
        if not self._found:
            if at < self._at:
                return True
            if at > self._at:
                self.miss(DELETED)
                return False
            self._found = True
        self._to_skip -= 1
        return True

    def _begin(self, step: str) -> None:
        del self._to_come[: self._to_come.index(step) + 1]
        self._step = step
        at = _time(self._at)
        self._log.step_began(step, at)
        if self._secret is not None:
            line = WITHHELD.format(step=step, secret=self._secret)
            self._log.add(step, f"{line}\n".encode(), at=at, position=self.place.written())
        self._on_step(step)

    def _add(self, lines: list[bytes]) -> None:
        if not lines or self._secret is not None:
            return
        at = _time(self._at)
        self._log.step_began(self._step, at)
        text = b"".join(line + b"\n" for line in self._keys.mask(lines))
        self._log.add(self._step, text, at=at, position=self.place.written())


class _Lines:
    """Splits a stream into lines, of which only the beginning is kept if they are too long."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that this piece completes."""
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            self._rest = b""
        if len(self._rest) < _LONGEST:
            self._rest = (self._rest + rest)[:_LONGEST]
        return lines

    def rest(self) -> list[bytes]:
        """Return the last line, which has no end; there is none if the stream ended with a complete one."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def _stamped(line: bytes) -> tuple[str, bytes]:
    """The time of a line in UTC, as a text that sorts by time, and its own text; the time is empty if it has none."""
    if line[_UTC_STAMP - 1 : _UTC_STAMP + 1] == b"Z ":
        return line[:_UTC_STAMP].decode("ascii", "replace"), line[_UTC_STAMP + 1 :]
    match = _STAMP.match(line)
    if match is None:
        return "", line
    second, fraction, zone = (match[part].decode() if match[part] else "" for part in (1, 2, 3))
    utc = datetime.fromisoformat(second + zone).astimezone(UTC).isoformat()[:_SECOND]
    return f"{utc}.{fraction:0<9}Z", line[match.end() :]


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at[:_MICROSECOND]).replace(tzinfo=UTC)
