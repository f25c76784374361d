"""What a span is, and the ids of a series.

The ids are derived from the ProjectSetup and its attempts, so that an operator continues the trace that another began.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time. `parent` is the id of the span that it is part of; `error` says why it failed."""

    name: str
    trace_id: int
    id: int
    parent: int | None
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int]
    error: str | None = None


class SpanExporter(Protocol):
    """Sends spans somewhere, in the background."""

    def export(self, spans: Iterable[Span]) -> None:
        """Send these spans later; never waits, never fails."""
        ...

    def close(self) -> None:
        """Send what is left, which takes a few seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class TraceIds:
    """The ids of the series of attempts that the ProjectSetup with this uid began at `queued_at`."""

    setup_uid: str
    queued_at: datetime

    @property
    def trace(self) -> int:
        """The id of the trace; `.status` keeps whole seconds, so only these count."""
        return self._id(16, str(int(self.queued_at.timestamp())))

    @property
    def root(self) -> int:
        """The id of the span of the series."""
        return self._id(8, str(int(self.queued_at.timestamp())))

    def attempt(self, run_name: str) -> int:
        """The id of the span of the attempt with this run."""
        return self._id(8, run_name)

    def step(self, run_name: str, step: str) -> int:
        """The id of the span of a step of that attempt."""
        return self._id(8, run_name, step)

    def traceparent(self, run_name: str, step: str) -> str:
        """The variable TRACEPARENT of that step, as W3C Trace Context defines it."""
        return f"00-{self.trace:032x}-{self.step(run_name, step):016x}-01"

    def _id(self, size: int, *parts: str) -> int:
        digest = hashlib.sha256("/".join((self.setup_uid, *parts)).encode()).digest()
        return int.from_bytes(digest[:size], "big")
