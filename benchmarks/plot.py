"""Plots as SVG, plain enough to be written by hand: bars with the spread of their rounds, and lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import floor, log10

from benchmarks.figures import Comparison, Curve, number

_WIDTH, _MARGIN = 760, 16
_LABELS, _VALUES = 250, 120
_BAR, _STEP = 18, 30
_OURS, _PEER = "#2b6cb0", "#a0aec0"
_LINES = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1")
_PLOT_HEIGHT, _LEFT, _BOTTOM = 300, 80, 60


def bars(comparison: Comparison) -> str:
    """One bar a contender, as long as its median; a thin line spans its rounds."""
    most = max(max(contender.rounds) for contender in comparison.contenders) or 1.0
    scale = (_WIDTH - _LABELS - _VALUES - 2 * _MARGIN) / most
    better = "less is better" if comparison.better == "less" else "more is better"
    shapes = [_text(_MARGIN, 24, f"{comparison.title} ({comparison.unit}, {better})", weight="bold")]
    for index, contender in enumerate(comparison.contenders):
        top, left = 40 + index * _STEP, _MARGIN + _LABELS
        middle, width = top + _BAR / 2, contender.typical * scale
        low, high = left + min(contender.rounds) * scale, left + max(contender.rounds) * scale
        shapes += [
            _text(left - 8, middle + 4, contender.name, anchor="end"),
            f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{_PEER if index else _OURS}"/>',
            _line(low, middle, high, middle, "#1a202c"),
            _text(max(left + width, high) + 8, middle + 4, number(contender.typical)),
        ]
    return _svg(40 + len(comparison.contenders) * _STEP + _MARGIN, shapes)


def lines(curve: Curve) -> str:
    """One line a series."""
    xs = [x for series in curve.series for x, _ in series.points]
    ys = [y for series in curve.series for _, y in series.points]
    across = _Axis(xs, _LEFT, _WIDTH - _MARGIN - 30, logarithmic=curve.logarithmic)
    up = _Axis(ys, 40 + _PLOT_HEIGHT, 40, logarithmic=curve.logarithmic)
    shapes = [_text(_MARGIN, 24, curve.title, weight="bold")]
    for value in across.ticks():
        x = across.place(value)
        shapes += [_line(x, 40, x, 40 + _PLOT_HEIGHT, "#e2e8f0"), _text(x, 58 + _PLOT_HEIGHT, number(value), "middle")]
    for value in up.ticks():
        y = up.place(value)
        shapes += [_line(_LEFT, y, _WIDTH - _MARGIN - 30, y, "#e2e8f0"), _text(_LEFT - 6, y + 4, number(value), "end")]
    for index, (series, colour) in enumerate(zip(curve.series, _LINES, strict=False)):
        path = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in series.points)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        shapes.append(_text(_LEFT + 12, 58 + index * 18, series.name, colour=colour))
    shapes.append(_text((_LEFT + _WIDTH) / 2, 80 + _PLOT_HEIGHT, curve.x, "middle"))
    shapes.append(_text(_WIDTH - _MARGIN, 24, curve.y, "end"))
    return _svg(40 + _PLOT_HEIGHT + _BOTTOM, shapes)


class _Axis:
    def __init__(self, values: Sequence[float], begin: float, end: float, *, logarithmic: bool) -> None:
        self._begin, self._end, self._logarithmic = begin, end, logarithmic
        positive = [value for value in values if value > 0] or [1.0]
        self._low = min(positive) if logarithmic else 0.0
        self._high = max(*positive, self._low * 1.01)

    def place(self, value: float) -> float:
        """Where this value is drawn."""
        share = (self._scaled(value) - self._scaled(self._low)) / (self._scaled(self._high) - self._scaled(self._low))
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> Iterator[float]:
        """Values to write beside the axis."""
        if self._logarithmic:
            for power in range(floor(log10(self._low)), floor(log10(self._high)) + 1):
                yield from (tick for tick in (10.0**power, 3 * 10.0**power) if self._low <= tick <= self._high)
            return
        step = 10.0 ** floor(log10(self._high))
        step = next(part for part in (step / 5, step / 2, step, step * 2) if self._high / part <= 6)  # noqa: PLR2004
        yield from (index * step for index in range(int(self._high / step) + 1))

    def _scaled(self, value: float) -> float:
        return log10(max(value, self._low)) if self._logarithmic else value


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", *, weight: str = "normal", colour: str = "#1a202c"
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-weight="{weight}" fill="{colour}">{escape(text)}</text>'


def _svg(height: float, shapes: Sequence[str]) -> str:
    style = 'font-family="sans-serif" font-size="13"'
    begin = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" {style}>'
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([begin, background, *shapes, "</svg>", ""])
