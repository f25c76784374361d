"""Throughput: attempts and setups that ended, counted in equal intervals, and the chart of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from projectsetup.dashboard.rows import End, EndKind


class Window(StrEnum):
    """How far back the chart goes."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"


@dataclass(frozen=True, slots=True)
class _Grid:
    width: timedelta
    number: int
    label: str
    every: int


_GRIDS: Final = {
    Window.HOUR: _Grid(timedelta(minutes=5), 12, "%H:%M", 3),
    Window.DAY: _Grid(timedelta(hours=1), 24, "%H:%M", 6),
    Window.WEEK: _Grid(timedelta(hours=6), 28, "%a %d", 4),
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The ends from `start` up to `end`."""

    start: datetime
    end: datetime
    counts: Mapping[EndKind, int]

    @property
    def total(self) -> int:
        """All kinds together."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Throughput:
    """The buckets of a window, oldest first; the last one is still filling."""

    window: Window
    buckets: tuple[Bucket, ...]

    @property
    def totals(self) -> Mapping[EndKind, int]:
        """The ends in the whole window."""
        return {kind: sum(bucket.counts[kind] for bucket in self.buckets) for kind in EndKind}


def throughput(ends: Iterable[End], window: Window, now: datetime) -> Throughput:
    """Count the ends in the window up to `now`."""
    grid = _GRIDS[window]
    last = (now - _EPOCH) // grid.width
    first = last - grid.number + 1
    since = _EPOCH + first * grid.width
    counts: Counter[tuple[int, EndKind]] = Counter(
        (min((end.at - since) // grid.width, grid.number - 1), end.kind) for end in ends if end.at >= since
    )
    buckets = (
        Bucket(
            since + number * grid.width,
            since + (number + 1) * grid.width,
            {kind: counts[number, kind] for kind in EndKind},
        )
        for number in range(grid.number)
    )
    return Throughput(window, tuple(buckets))


WIDTH: Final = 960
HEIGHT: Final = 120
"""Size of the plot area, in units of the drawing."""
_GAP: Final = 0.2


@dataclass(frozen=True, slots=True)
class Bar:
    """One coloured part of a column."""

    kind: EndKind
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """A drawn bucket; `label` is empty for most columns, to avoid overlaps."""

    bucket: Bucket
    bars: tuple[Bar, ...]
    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A stacked column for each bucket; `top` is the value at the upper edge."""

    columns: tuple[Column, ...]
    top: int


def chart_of(found: Throughput) -> Chart:
    """Draw the chart; its upper edge is an even number that no column exceeds."""
    most = max(bucket.total for bucket in found.buckets)
    top = max(2, most + most % 2)
    grid = _GRIDS[found.window]
    step = WIDTH / grid.number
    columns = []
    for number, bucket in enumerate(found.buckets):
        bars, height = [], 0.0
        for kind in EndKind:
            if part := bucket.counts[kind] * HEIGHT / top:
                height += part
                x, y = (number + _GAP / 2) * step, HEIGHT - height
                bars.append(Bar(kind, round(x, 2), round(y, 2), round(step * (1 - _GAP), 2), round(part, 2)))
        label = f"{bucket.start:{grid.label}}" if number % grid.every == 0 else ""
        columns.append(Column(bucket, tuple(bars), round(number * step, 2), label))
    return Chart(tuple(columns), top)
