"""Draws one graph of the dashboard as SVG: axes, lines or stacked areas, and a legend."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from monitoring.panels import NUMBER, PER_MINUTE, PER_SECOND, SECONDS, SHARE

COLORS: Final = (
    *("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#6ed0e0", "#e5a8e2"),
    *("#37872d", "#b7a10b", "#1f60c4", "#ad5a0c", "#c0d8ff", "#705da0", "#ffa6b0", "#c8f2c2"),
)
SHADES: Final = {
    "green": ("#73bf69",),
    "red": ("#f2495c", "#ff7383", "#c4162a", "#ffa6b0", "#8f0f1d", "#e02f44", "#ffc4cc"),
    "blue": ("#5794f2", "#8ab8ff"),
    "purple": ("#b877d9", "#8f3bb8"),
}
WIDTH: Final = 480
HEIGHT: Final = 170
_LEFT: Final = 52
_RIGHT: Final = 8
_TOP: Final = 8
_BOTTOM: Final = 22
_LINES: Final = 4
_TIMES: Final = 5
_SUFFIXES: Final = {PER_MINUTE: " /min", PER_SECOND: " /s", NUMBER: ""}


@dataclass(frozen=True, slots=True)
class Line:
    """What is drawn in one colour: its name, and its values by time; NaN where there is none."""

    name: str
    values: Mapping[float, float]
    color: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What times and values the graph shows, and where they are in it."""

    start: float
    end: float
    top: float

    def x(self, moment: float) -> float:
        """The place of a time."""
        return _LEFT + (moment - self.start) / (self.end - self.start) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """The place of a value."""
        return HEIGHT - _BOTTOM - value / self.top * (HEIGHT - _TOP - _BOTTOM)


def graph(lines: Sequence[Line], *, start: float, end: float, unit: str, stacked: bool) -> str:
    """The SVG of these lines, and below it their names."""
    layers = _stacked(lines) if stacked else [(line, dict.fromkeys(line.values, 0.0), line.values) for line in lines]
    most = max((value for _, _, tops in layers for value in tops.values() if math.isfinite(value)), default=0.0)
    frame = Frame(start, end, _round_up(most))
    drawn = [_axes(frame, unit)]
    for line, bottoms, tops in layers:
        drawn += _layer(frame, bottoms, tops, line.color, filled=stacked)
    names = "".join(f'<span><i style="background:{line.color}"></i>{escape(line.name)}</span>' for line in lines)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">{"".join(drawn)}</svg>'
    return f'{svg}<div class="legend">{names}</div>'


def told(value: float, unit: str) -> str:
    """A value for people."""
    if not math.isfinite(value):
        return "no data"
    if unit == SHARE:
        return f"{value:.0%}" if value in {0, 1} else f"{value:.1%}"
    if unit == SECONDS:
        return _seconds(value)
    return f"{value:.3g}{_SUFFIXES[unit]}"


def _seconds(value: float) -> str:
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.3g} s" if value < 60 else f"{value / 60:.3g} min"  # noqa: PLR2004  # seconds in a minute


def _stacked(lines: Sequence[Line]) -> Sequence[tuple[Line, Mapping[float, float], Mapping[float, float]]]:
    moments = sorted({at for line in lines for at, value in line.values.items() if math.isfinite(value)})
    floor = dict.fromkeys(moments, 0.0)
    found = []
    for line in lines:
        values = {moment: line.values.get(moment, math.nan) for moment in moments}
        tops = {moment: floor[moment] + (value if math.isfinite(value) else 0.0) for moment, value in values.items()}
        found.append((line, floor, tops))
        floor = tops
    return found


def _layer(
    frame: Frame, bottoms: Mapping[float, float], tops: Mapping[float, float], color: str, *, filled: bool
) -> list[str]:
    drawn = []
    for moments in _stretches([moment for moment, value in sorted(tops.items()) if math.isfinite(value)]):
        upper = " ".join(f"{frame.x(moment):.1f},{frame.y(tops[moment]):.1f}" for moment in moments)
        if filled:
            lower = " ".join(f"{frame.x(moment):.1f},{frame.y(bottoms[moment]):.1f}" for moment in reversed(moments))
            drawn.append(f'<polygon points="{upper} {lower}" fill="{color}" fill-opacity="0.35"/>')
        drawn.append(f'<polyline points="{upper}" fill="none" stroke="{color}" stroke-width="1.3"/>')
    return drawn


def _stretches(moments: Sequence[float]) -> list[list[float]]:
    """Moments that follow each other without a gap."""
    usual = min((later - earlier for earlier, later in pairwise(moments)), default=0.0)
    found: list[list[float]] = []
    for moment in moments:
        if found and moment - found[-1][-1] < 1.5 * usual:
            found[-1].append(moment)
        else:
            found.append([moment])
    return found


def _axes(frame: Frame, unit: str) -> str:
    drawn = []
    for number in range(_LINES + 1):
        value = frame.top * number / _LINES
        y = frame.y(value)
        drawn.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#2c3235"/>')
        drawn.append(f'<text x="{_LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{told(value, unit)}</text>')
    for number in range(_TIMES):
        moment = frame.start + (frame.end - frame.start) * (number + 0.5) / _TIMES
        label = time.strftime("%H:%M:%S", time.gmtime(moment))
        drawn.append(f'<text x="{frame.x(moment):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>')
    return "".join(drawn)


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if step * size >= value)
