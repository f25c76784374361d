"""What a benchmark has measured: kept as JSON, rendered as tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

Better = Literal["less", "more"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Contender(_Value):
    """What one contender came to, one value a round."""

    name: str
    rounds: Sequence[float]

    @property
    def typical(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)


class Comparison(_Value):
    """Contenders that did the same in turn; the first one is ours."""

    title: str
    unit: str
    better: Better = "less"
    contenders: Sequence[Contender]

    def advantage(self, peer: Contender) -> float | None:
        """How many times as good as this peer ours is; below 1 it is worse. None where nothing was measured."""
        ours, theirs = self.contenders[0].typical, peer.typical
        if not ours or not theirs:
            return None
        return theirs / ours if self.better == "less" else ours / theirs


class Goal(_Value):
    """What was aimed at, and what came of it."""

    what: str
    limit: str
    measured: str
    met: bool


class Series(_Value):
    """One line of a plot."""

    name: str
    points: Sequence[tuple[float, float]]


class Curve(_Value):
    """A plot of lines; with `logarithmic` both axes are."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    logarithmic: bool = False


class Table(_Value):
    """What is to be read and not compared."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Findings(_Value):
    """What a benchmark hands back. `text` says how it was measured."""

    title: str
    text: str
    goals: Sequence[Goal] = ()
    comparisons: Sequence[Comparison] = ()
    curves: Sequence[Curve] = ()
    tables: Sequence[Table] = ()


class Report(Findings):
    """One benchmark of one run, which took so many seconds; a `quick` one only shows that it works."""

    name: str
    quick: bool
    machine: dict[str, str]
    took: float


def at_least(what: str, limit: float, measured: float, unit: str = "") -> Goal:
    """A goal that more is better for."""
    return Goal(what=what, limit=f"≥ {_told(limit, unit)}", measured=_told(measured, unit), met=measured >= limit)


def at_most(what: str, limit: float, measured: float, unit: str = "") -> Goal:
    """A goal that less is better for."""
    return Goal(what=what, limit=f"≤ {_told(limit, unit)}", measured=_told(measured, unit), met=measured <= limit)


def _told(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".strip()


def number(value: float) -> str:
    """A number with three significant digits, or all that stand before the point."""
    if value == 0:
        return "0"
    if abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that `share` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(ceil(share * len(ordered)), 1) - 1]
