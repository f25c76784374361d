"""The sections of the page and the order of their rows."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from projectsetup.api.reasons import Phase
from projectsetup.dashboard.rows import Row

SHOWN: Final = 50
"""Rows shown of a section; the others are only counted."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Section:
    """The first rows of a section and their total number."""

    rows: tuple[Row, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Board:
    """The content of the page."""

    counts: Mapping[Phase, int]
    queued: Section
    """In start order."""
    running: Section
    """The longest running first."""
    backing_off: Section
    """By the time of the next attempt."""
    suspended: Section
    failed: Section
    """Failed and cancelled, the latest first."""
    succeeded: Section
    """The latest first."""


def board_of(rows: Iterable[Row], *, shown: int = SHOWN) -> Board:
    """Sort these ProjectSetups into sections."""
    by_phase: dict[Phase, list[Row]] = {phase: [] for phase in Phase}
    for row in rows:
        by_phase[row.phase].append(row)

    def first(order: Callable[[Row], Any], *phases: Phase) -> Section:
        found = [row for phase in phases for row in by_phase[phase]]
        return Section(tuple(heapq.nsmallest(shown, found, key=lambda row: (order(row), row.key))), len(found))

    def last_ended(*phases: Phase) -> Section:
        found = [row for phase in phases for row in by_phase[phase]]
        return Section(tuple(heapq.nlargest(shown, found, key=lambda row: (_ended(row), row.key))), len(found))

    return Board(
        counts=Counter({phase: len(found) for phase, found in by_phase.items()}),
        queued=first(lambda row: row.rank, Phase.QUEUED),
        running=first(lambda row: row.started_at or _NEVER, Phase.RUNNING),
        backing_off=first(lambda row: row.next_attempt_at or _NEVER, Phase.BACKING_OFF),
        suspended=first(lambda row: row.rank, Phase.SUSPENDED),
        failed=last_ended(Phase.FAILED, Phase.CANCELLED),
        succeeded=last_ended(Phase.SUCCEEDED),
    )


def _ended(row: Row) -> datetime:
    return row.finished_at or _LONG_AGO
