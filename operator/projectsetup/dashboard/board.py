"""All ProjectSetups in the sections of the page, each in the order that tells most."""

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
"""Rows of a section that are shown; of the others there is a number."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Section:
    """The first rows of one kind, and how many there are in all."""

    rows: tuple[Row, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Board:
    """What the page shows."""

    counts: Mapping[Phase, int]
    queued: Section
    """In the order in which they start."""
    running: Section
    """The one that has run longest first."""
    backing_off: Section
    """By the time of the next attempt."""
    suspended: Section
    over: Section
    """Failed and cancelled, the last one first."""
    succeeded: Section
    """The last one first."""


def board_of(rows: Iterable[Row], *, shown: int = SHOWN) -> Board:
    """The board of all these ProjectSetups."""
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
        over=last_ended(Phase.FAILED, Phase.CANCELLED),
        succeeded=last_ended(Phase.SUCCEEDED),
    )


def _ended(row: Row) -> datetime:
    return row.finished_at or _LONG_AGO
