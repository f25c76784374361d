"""The log of one attempt: what its steps print, without secrets and within a limit, and when each step ran.

Until the log is full, everything is kept. Then its first quarter stays as it is, and the rest holds what was printed
last; how many lines were left out in between is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from projectsetup.api.steps import StepTime
from projectsetup.setup.output import LINE_BYTES, readable
from projectsetup.setup.scrub import Scrubber

HEAD_SHARE: Final = 4
"""The first 1/HEAD_SHARE of the limit is for what was printed first."""
WHOLE_SHARE: Final = 8
"""Output of at most 1/WHOLE_SHARE of the tail is kept as it came until a batch is taken."""
PIECE_BYTES: Final = 16_384
"""Output is kept and dropped in pieces of at most this size."""
HELD_PIECES: Final = 4
"""Pieces that are held back at most while a secret may continue in what follows."""
UNCOUNTED: Final = b"[projectsetup] more lines were left out above than were counted\n"

Position = Mapping[str, Any]
"""Where an engine continues to read the output of an attempt that another operator left; JSON."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """Complete lines of one step, without secrets, that were printed within one second."""

    number: int
    step: str
    at: datetime
    text: str

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text.encode())

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.text.count("\n")


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Rows to add to what is stored, and what the log is like with them.

    Stored rows from `tail_from` up to but without `keep_from` fell out of the log. Rows before `tail_from` are the
    head; None: there is only a head. `lines_left_out` are missing before the first row of the tail.
    """

    rows: tuple[LogRow, ...]
    tail_from: int | None
    keep_from: int
    lines_left_out: int
    steps: tuple[StepTime, ...]
    position: Position | None


class StoredRow(NamedTuple):
    """What must be known of a row that is stored: its number, bytes and lines."""

    number: int
    size: int
    lines: int


@dataclass(frozen=True, slots=True)
class StoredLog:
    """What another operator has stored of the log."""

    next_row: int
    head_bytes: int
    tail_from: int | None
    tail: tuple[StoredRow, ...]
    lines_left_out: int
    steps: tuple[StepTime, ...]
    position: Position | None


@dataclass(slots=True)
class _Piece:
    """Lines that a step printed within one second."""

    step: str
    at: datetime
    data: bytes | bytearray
    position: Position | None = None
    after_gap: bool = False
    says_missing: bool = False

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.data.count(b"\n")

    def append(self, text: bytes) -> None:
        """Add more lines."""
        if isinstance(self.data, bytes):
            self.data = bytearray(self.data)
        self.data += text


@dataclass(slots=True)
class AttemptLog:
    """Receives output from an engine and hands it over in batches; holds about `limit` bytes at most, twice.

    With a limit of 0 nothing is kept but the times of the steps. `on_output` is called when there is something to take.
    """

    limit: int
    on_output: Callable[[], None] = lambda: None
    scrubber: Scrubber = field(default_factory=Scrubber)
    """Knows the secrets of the attempt; the engine sets it before the first step."""
    position: Position | None = None
    """Where the engine continues to read, see `restore`."""
    piece_bytes: int = field(default=PIECE_BYTES, init=False)
    """Output is kept and stored in pieces of at most this size."""
    _steps: dict[str, StepTime] = field(default_factory=dict)
    _head: deque[_Piece] = field(default_factory=deque)
    _tail: deque[_Piece] = field(default_factory=deque)
    _head_room: int = 0
    _tail_bytes: int = 0
    _stored_tail: deque[StoredRow] = field(default_factory=deque)
    _tail_from: int | None = None
    _next_row: int = 0
    _left_out: int = 0
    _lines: int = 0
    """Lines that were added since the last batch, with those that it held back: they wait or were left out."""
    _gap: bool = False
    _missing_row: int = -1
    _uncounted: bool = False
    _taken: LogBatch | None = None
    _closed: bool = False

    def __post_init__(self) -> None:
        self._head_room = self.limit // HEAD_SHARE
        self.piece_bytes = min(PIECE_BYTES, max(self.limit // 64, 256))

    @property
    def steps(self) -> tuple[StepTime, ...]:
        """The steps that have begun, in order."""
        return tuple(self._steps.values())

    def restore(self, stored: StoredLog) -> None:
        """Continue a log that another operator began."""
        self.position = stored.position
        self._steps = {step.name: step for step in stored.steps}
        self._head_room = 0 if stored.tail_from is not None else max(self._head_room - stored.head_bytes, 0)
        self._stored_tail = deque(stored.tail)
        self._tail_from, self._next_row, self._left_out = stored.tail_from, stored.next_row, stored.lines_left_out

    def step_began(self, step: str, at: datetime | None = None) -> None:
        """A step begins, which ends the one before."""
        at = at or datetime.now(UTC)
        if step not in self._steps:
            self._end_steps(at)
            self._steps[step] = StepTime(step, at)

    def start_over(self) -> None:
        """The attempt starts again: the steps so far do not count."""
        self._steps.clear()

    def add(
        self,
        step: str,
        text: bytes,
        lines: int | None = None,
        *,
        at: datetime | None = None,
        position: Position | None = None,
    ) -> None:
        """Add complete lines, each with its end; `position` is behind the last of them.

        `lines` is how many they are, for callers that know: counting them takes longer than the rest. A crash loses or
        repeats none of them if they have no more than `piece_bytes`.
        """
        if not text or self.limit == 0:
            return
        at = (at or datetime.now(UTC)).replace(microsecond=0)
        self._lines += text.count(b"\n") if lines is None else lines
        parts = [text] if self._may_stay_whole(text) else _parts(text, self.piece_bytes)
        for part in parts:
            self._append(step, at, part, position)
        self.on_output()

    def add_missing(self, step: str, line: str, *, position: Position | None = None) -> None:
        """Add a line of the operator's own which says that an unknown amount of output is missing here.

        Once that line is left out itself, another one says that the lines that were left out are more than counted.
        """
        if self.limit > 0:
            at = datetime.now(UTC).replace(microsecond=0)
            self._lines += 1
            self._append(step, at, f"{line}\n".encode(), position, says_missing=True)
            self.on_output()

    def close(self, at: datetime | None = None) -> None:
        """The attempt has ended: nothing follows, so nothing is held back any longer."""
        self._closed = True
        self._end_steps(at or datetime.now(UTC))
        self.on_output()

    def take(self) -> LogBatch | None:
        """Return what to store next; the same again until `stored`. None: there is nothing new."""
        if self._taken is None:
            self._taken = self._batch()
        return self._taken

    def stored(self) -> None:
        """What was taken is stored."""
        self._taken = None

    def _end_steps(self, at: datetime) -> None:
        for step in self._steps.values():
            if step.ended is None:
                self._steps[step.name] = replace(step, ended=at)

    def _append(
        self, step: str, at: datetime, text: bytes, position: Position | None, *, says_missing: bool = False
    ) -> None:
        in_head = len(text) <= self._head_room and not self._tail
        if self._uncounted:
            text, self._uncounted, says_missing = UNCOUNTED + text, False, True
            self._lines += 1
        self._gap = self._gap or says_missing
        pieces = self._head if in_head else self._tail
        last = pieces[-1] if pieces else None
        fits = last is not None and len(last.data) + len(text) <= self.piece_bytes
        if last is None or self._gap or last.step != step or last.at != at or not fits:
            pieces.append(_Piece(step, at, text, position, after_gap=self._gap, says_missing=says_missing))
            self._gap = says_missing
        else:
            last.append(text)
            last.position = position
        if in_head:
            self._head_room -= len(text)
        else:
            self._head_room = 0
            self._tail_bytes += len(text)
            while self._tail_bytes - len(self._tail[0].data) >= self._tail_limit:
                self._drop_first()

    @property
    def _tail_limit(self) -> int:
        return self.limit - self.limit // HEAD_SHARE

    def _may_stay_whole(self, text: bytes) -> bool:
        """Whether this is divided only if it is still there when a batch is taken: of a flood, most never is."""
        return bool(self._tail) and WHOLE_SHARE * len(text) <= self._tail_limit

    def _divide_tail(self) -> None:
        """Divide what was added as a whole, and leave out what does not fit."""
        divided: deque[_Piece] = deque()
        for piece in self._tail:
            if len(piece.data) <= self.piece_bytes:
                divided.append(piece)
                continue
            first, *others = _parts(bytes(piece.data), self.piece_bytes)
            divided.append(replace(piece, data=first))
            divided.extend(_Piece(piece.step, piece.at, part, piece.position) for part in others)
        self._tail = divided
        self._tail_bytes = sum(len(piece.data) for piece in divided)
        while self._tail_bytes > self._tail_limit:
            self._drop_first()

    def _drop_first(self) -> None:
        """Leave out what was printed first of the tail; all of the stored tail is older."""
        dropped = self._tail.popleft()
        self._tail_bytes -= len(dropped.data)
        self._uncounted = self._uncounted or dropped.says_missing
        while self._stored_tail:
            self._leave_out_stored()
        if self._tail:
            self._tail[0].after_gap = True
        else:
            self._gap = True

    def _leave_out_stored(self) -> int:
        row = self._stored_tail.popleft()
        self._left_out += row.lines
        self._uncounted = self._uncounted or row.number == self._missing_row
        return row.size

    def _batch(self) -> LogBatch | None:
        self._divide_tail()
        pieces = [*self._head, *self._tail]
        del pieces[len(pieces) - self._held(pieces) :]
        if not pieces:
            return None
        in_head = min(len(pieces), len(self._head))
        for _ in range(in_head):
            self._head.popleft()
        for _ in pieces[in_head:]:
            self._tail_bytes -= len(self._tail.popleft().data)
        if self._tail_from is None and in_head < len(pieces):
            self._tail_from = self._next_row + in_head
        rows = [
            LogRow(number, piece.step, piece.at, text)
            for number, (piece, text) in enumerate(zip(pieces, self._texts(pieces), strict=True), self._next_row)
        ]
        held = sum(piece.lines for piece in (*self._head, *self._tail))
        self._left_out += self._lines - held - sum(piece.lines for piece in pieces)
        self._lines = held
        said = (row.number for row, piece in zip(rows, pieces, strict=True) if piece.says_missing)
        self._missing_row = max(said, default=self._missing_row)
        self._next_row += len(rows)
        self._stored_tail.extend(StoredRow(row.number, row.size, row.lines) for row in rows[in_head:])
        keep_from = self._trim_stored_tail()
        return LogBatch(
            rows=(*rows[:in_head], *(row for row in rows[in_head:] if row.number >= keep_from)),
            tail_from=self._tail_from,
            keep_from=keep_from,
            lines_left_out=self._left_out,
            steps=self.steps,
            position=pieces[-1].position,
        )

    def _trim_stored_tail(self) -> int:
        """Leave out the oldest rows of the tail that do not fit; return the number of the first that stays."""
        excess = sum(row.size for row in self._stored_tail) - self._tail_limit
        while excess > 0 and self._stored_tail:
            excess -= self._leave_out_stored()
        return self._stored_tail[0].number if self._stored_tail else self._next_row

    def _held(self, pieces: Sequence[_Piece]) -> int:
        """How many of the last pieces may end within a secret."""
        if self._closed or not pieces:
            return 0
        last = [piece for piece in pieces[-HELD_PIECES:] if piece.step == pieces[-1].step]
        unfinished = self.scrubber.unfinished(_readable(last).rstrip("\n"))
        held = 0
        while unfinished > 0 and held < len(last):
            held += 1
            unfinished -= len(last[-held].data)
        return held

    def _texts(self, pieces: Sequence[_Piece]) -> Iterator[str]:
        """The text of each piece without secrets, which may span pieces of one step."""
        groups = list(_groups(pieces))
        for group, following in zip(groups, [*groups[1:], None], strict=True):
            cut = group[0].after_gap or (following is not None and following[0].after_gap)
            scrub = self.scrubber.scrub_cut if cut else self.scrubber.scrub
            lines = iter(scrub(_readable(group)).splitlines(keepends=True))
            for piece in group:
                yield "".join(lines if piece is group[-1] else islice(lines, piece.lines))


def _readable(pieces: Sequence[_Piece]) -> str:
    output = b"".join(piece.data for piece in pieces)
    if len(output) > LINE_BYTES:
        output = b"\n".join(line[:LINE_BYTES] for line in output.split(b"\n"))
    return readable(output)


def _groups(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Consecutive pieces of one step with nothing missing between them."""
    group: list[_Piece] = []
    for piece in pieces:
        if group and (piece.step != group[-1].step or piece.after_gap):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _parts(text: bytes, size: int) -> Iterator[bytes]:
    """The text in parts of complete lines, of at most this size; a line that is longer is a part, cut to LINE_BYTES."""
    start = 0
    while start < len(text):
        end = len(text) if len(text) - start <= size else text.rfind(b"\n", start, start + size) + 1
        if end > start:
            yield text[start:end]
        else:
            end = text.index(b"\n", start) + 1
            yield text[start : min(end - 1, start + LINE_BYTES)] + b"\n"
        start = end
