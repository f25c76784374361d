"""Figures of one contender over several rounds, and the table that compares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Comparison, Contender

_collected: ContextVar[list[Comparison]] = ContextVar("collected")


@dataclass(frozen=True, slots=True)
class Figure:
    """What one contender needed, one value a round; less is better."""

    name: str
    rounds: Sequence[float]

    @property
    def typical(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)


def show(title: str, unit: str, figures: Sequence[Figure], notes: Mapping[str, str] | None = None) -> None:
    """Print a table; the first figure is ours, and every other one is told as a ratio to it."""
    contenders = [Contender(name=figure.name, rounds=figure.rounds) for figure in figures]
    _collected.get([]).append(Comparison(title=title, unit=unit, contenders=contenders))
    ours = figures[0].typical
    table = Table(title=f"{title} ({unit}, less is better)", title_justify="left")
    for heading in ("contender", "median", "least", "most", "ratio to ours", ""):
        table.add_column(heading, justify="left" if heading in {"contender", ""} else "right")
    for figure in figures:
        values = (figure.typical, min(figure.rounds), max(figure.rounds))
        ratio = f"{figure.typical / ours:.2f}" if ours else "-"
        table.add_row(figure.name, *(f"{value:.2f}" for value in values), ratio, (notes or {}).get(figure.name, ""))
    Console().print(table)


@contextmanager
def collecting() -> Iterator[list[Comparison]]:
    """What `show` shows meanwhile."""
    shown: list[Comparison] = []
    token = _collected.set(shown)
    try:
        yield shown
    finally:
        _collected.reset(token)
