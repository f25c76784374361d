"""The log on the page of a setup: a part of it at a time, with headings and the address of what follows."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from projectsetup.log_reader import AttemptOutput, LeftOut, Line, LogSource, Mark
from projectsetup.text import without_harm

SHOWN: Final = 2000
"""Lines that one part has at most."""


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a page shows the log: up to `mark` of this attempt, up to its beginning (None), or none of it.

    `pinned`: only this attempt is shown; otherwise those after it follow. `skipped`: only those after it are shown;
    with the `run_name` "", whichever is the latest.
    """

    run_name: str
    mark: Mark | None = None
    pinned: bool = False
    skipped: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Position:
        """Read what `query` wrote."""
        mark = Mark(query["after"], query.get("step", "")) if "after" in query else None
        return cls(query.get("attempt", ""), mark, "pinned" in query, "skipped" in query)

    def query(self) -> str:
        """The query that asks for what follows."""
        values = {"attempt": self.run_name}
        values |= {name: "1" for name in ("pinned", "skipped") if getattr(self, name)}
        if self.mark is not None:
            values |= {"after": self.mark.place, "step": self.mark.step}
        return urlencode(values)


@dataclass(frozen=True, slots=True)
class Heading:
    """Above the lines of an attempt or step; `id` is unique on the page."""

    id: str
    text: str
    is_attempt: bool


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line with a unique id; `text` has no harmful characters."""

    id: str
    line: Line
    text: str


Entry = Heading | ShownLine | LeftOut


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of the log. `omitted` lines are before it; `position` is None if nothing will follow."""

    entries: Sequence[Entry]
    omitted: int
    position: Position | None

    @property
    def is_empty(self) -> bool:
        """Whether it has no lines."""
        return not self.entries


async def last_part(source: LogSource, output: AttemptOutput, *, pinned: bool, is_live: bool) -> LogPart:
    """The last lines of an attempt; `is_live`: more may follow."""
    omitted = 0
    lines: deque[Line | LeftOut] = deque(maxlen=SHOWN)
    async with aclosing(source.lines(output, follow=False)) as found:
        async for line in found:
            omitted += len(lines) == SHOWN
            lines.append(line)
    position = Position(output.run_name, _last_mark(lines, None), pinned)
    return LogPart(list(_begun(output, lines, None)), omitted, position if is_live else None)


async def next_part(
    source: LogSource, position: Position, outputs: Sequence[AttemptOutput], *, is_live: bool
) -> LogPart:
    """What follows; once all of its attempt is shown, the attempt after it. Raises ValueError for a wrong mark."""
    entries: list[Entry] = []
    at = next((number for number, each in enumerate(outputs) if each.run_name == position.run_name), None)
    if at is not None:
        lines = [] if position.skipped else await _first(source, outputs[at], position.mark)
        entries += _begun(outputs[at], lines, position.mark)
        position = replace(position, mark=_last_mark(lines, position.mark))
        if len(lines) == SHOWN:
            return LogPart(entries, 0, position)
    following = None if position.pinned else _following(outputs, at)
    if following is not None:
        lines = await _first(source, following, None)
        entries += _begun(following, lines, None)
        position = Position(following.run_name, _last_mark(lines, None))
        is_live = is_live or following is not outputs[-1] or len(lines) == SHOWN
    return LogPart(entries, 0, position if is_live else None)


async def plain_text(source: LogSource, output: AttemptOutput) -> AsyncIterator[str]:
    """The whole log of an attempt, line by line."""
    step = None
    async with aclosing(source.lines(output, follow=False)) as lines:
        async for line in lines:
            if isinstance(line, LeftOut):
                yield f"{line}\n"
                continue
            if line.step != step:
                yield f"── {without_harm(line.step)}\n"
            step = line.step
            yield f"{line.at:%Y-%m-%dT%H:%M:%S}Z {line.shown}\n"


async def _first(source: LogSource, output: AttemptOutput, after: Mark | None) -> Sequence[Line | LeftOut]:
    found: list[Line | LeftOut] = []
    async with aclosing(source.lines(output, follow=False, after=after)) as lines:
        async for line in lines:
            found.append(line)
            if len(found) == SHOWN:
                break
    return found


def _following(outputs: Sequence[AttemptOutput], at: int | None) -> AttemptOutput | None:
    """The attempt after this one; without one, the latest."""
    if at is None:
        return outputs[-1] if outputs else None
    return outputs[at + 1] if at + 1 < len(outputs) else None


def _begun(output: AttemptOutput, lines: Iterable[Line | LeftOut], mark: Mark | None) -> Iterator[Entry]:
    """The entries of these lines, with the heading of the attempt if they are its first."""
    entries = list(_entries(lines, output.run_name, None if mark is None else mark.step))
    if entries and mark is None:
        yield _attempt_heading(output)
    yield from entries


def _entries(lines: Iterable[Line | LeftOut], run_name: str, step: str | None) -> Iterator[Entry]:
    for line in lines:
        if isinstance(line, LeftOut):
            yield line
            continue
        if line.step != step:
            yield Heading(f"{run_name}/{line.step}", line.step, is_attempt=False)
        step = line.step
        yield ShownLine(f"{run_name}:{line.place}", line, line.shown)


def _attempt_heading(output: AttemptOutput) -> Heading:
    return Heading(output.run_name, f"Attempt {output.attempt}", is_attempt=True)


def _last_mark(lines: Sequence[Line | LeftOut], before: Mark | None) -> Mark | None:
    last = next((line for line in reversed(lines) if isinstance(line, Line)), None)
    return before if last is None else Mark(last.place, last.step)
