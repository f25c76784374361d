"""The results of a benchmark: stored as JSON, rendered as tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

Better = Literal["less", "more"]
Rank = Literal["better", "equal", "worse"]
CLOSE: Final = 0.05
"""The share of the larger median by which two may differ and still count as equal."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Contender(_Value):
    """The results of one contender, one value per round; `unfinished` if they are limits that were reached."""

    name: str
    rounds: Sequence[float]
    unfinished: bool = False

    @property
    def typical(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def figure(self) -> str:
        """The median for a table."""
        return f"more than {number(self.typical)}" if self.unfinished else number(self.typical)


class Comparison(_Value):
    """Contenders that did the same work in turn; the first one is ours.

    `headline` is its name in the table of peers that the page begins with; empty: not in that table.
    """

    title: str
    unit: str
    better: Better = "less"
    contenders: Sequence[Contender]
    headline: str = ""

    def advantage(self, peer: Contender) -> float | None:
        """How many times better than this peer ours is (below 1: worse); None if a value is zero."""
        ours, theirs = self.contenders[0].typical, peer.typical
        if not ours or not theirs:
            return None
        return theirs / ours if self.better == "less" else ours / theirs

    def rank(self, peer: Contender) -> Rank:
        """How ours compares with this peer; `equal` if the medians differ by less than `CLOSE`."""
        ours, theirs = self.contenders[0].typical, peer.typical
        if abs(ours - theirs) <= CLOSE * max(abs(ours), abs(theirs)):
            return "equal"
        return "better" if (ours < theirs) == (self.better == "less") else "worse"


class Peer(_Value):
    """A contender that users would pick instead of ours: its name in the comparisons, and what it is."""

    name: str
    what: str


class Goal(_Value):
    """A goal and its result."""

    what: str
    limit: str
    measured: str
    met: bool


class Series(_Value):
    """One line of a plot."""

    name: str
    points: Sequence[tuple[float, float]]


class Curve(_Value):
    """A line plot; `logarithmic` applies to both axes."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    logarithmic: bool = False


class Table(_Value):
    """Figures that are not compared."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Findings(_Value):
    """The findings of a benchmark; `text` describes the method.

    Comparisons in `after_kill` appear only in the table of peers; the part shows them as one of its `tables`.
    """

    title: str
    text: str
    peers: Sequence[Peer] = ()
    goals: Sequence[Goal] = ()
    after_kill: Sequence[Comparison] = ()
    comparisons: Sequence[Comparison] = ()
    curves: Sequence[Curve] = ()
    tables: Sequence[Table] = ()


class Report(Findings):
    """The findings of one run, which took `took` seconds; a `quick` run only shows that the benchmark works."""

    name: str
    quick: bool
    machine: dict[str, str]
    took: float


def at_least(what: str, limit: float, measured: float, unit: str = "") -> Goal:
    """A goal with a lower limit."""
    return Goal(what=what, limit=f"≥ {_amount(limit, unit)}", measured=_amount(measured, unit), met=measured >= limit)


def at_most(what: str, limit: float, measured: float, unit: str = "") -> Goal:
    """A goal with an upper limit."""
    return Goal(what=what, limit=f"≤ {_amount(limit, unit)}", measured=_amount(measured, unit), met=measured <= limit)


def _amount(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".strip()


def number(value: float) -> str:
    """A number with three significant digits, or all its integer digits."""
    if value == 0:
        return "0"
    if abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(ceil(share * len(ordered)), 1) - 1]
