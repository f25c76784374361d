"""A picture of the dashboard, drawn without Grafana from the answers of a Prometheus."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle, pairwise
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from monitoring.panels import NUMBER, PER_MINUTE, PER_SECOND, ROWS, SECONDS, SHARE, Figure, Graph, Query
from monitoring.prometheus import MonitoringError, Prometheus, Series

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
PAGE_WIDTH: Final = 1500
PAGE_HEIGHT: Final = 1600
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_LIMIT: Final = 120.0
_POINTS: Final = 240
_COLORS: Final = {"red": "#f2495c", "orange": "#ff9830", "green": "#73bf69", None: "#d8d9da"}
_STYLE: Final = """
body { background: #111217; color: #d8d9da; font: 12px sans-serif; margin: 10px; }
h1 { font-size: 16px; font-weight: 500; margin: 2px 0 8px; }
h2 { font-size: 13px; font-weight: 500; margin: 10px 0 6px; }
.row { display: grid; gap: 8px; grid-template-columns: repeat(6, 1fr); }
.panel { background: #181b1f; border: 1px solid #2c3235; padding: 6px 8px; }
.graph { grid-column: span 2; }
.title { font-weight: 500; margin-bottom: 4px; }
.value { font-size: 30px; line-height: 52px; text-align: center; }
.legend { font-size: 10px; line-height: 15px; height: 48px; overflow: hidden; }
.legend span { margin-right: 9px; white-space: nowrap; }
.legend i { display: inline-block; height: 3px; margin: 0 4px 3px 0; width: 12px; }
text { fill: #9fa1a4; font: 10px sans-serif; }
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A named series in one color: its values by time, NaN where there is none."""

    name: str
    values: Mapping[float, float]
    color: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps times and values to coordinates."""

    start: float
    end: float
    top: float

    def x(self, moment: float) -> float:
        """The x coordinate of a time."""
        return _LEFT + (moment - self.start) / (self.end - self.start) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """The y coordinate of a value."""
        return HEIGHT - _BOTTOM - value / self.top * (HEIGHT - _TOP - _BOTTOM)


def graph(lines: Sequence[Line], *, start: float, end: float, unit: str, stacked: bool) -> str:
    """An SVG of these lines, followed by a legend."""
    layers = _stacked(lines) if stacked else [(line, dict.fromkeys(line.values, 0.0), line.values) for line in lines]
    most = max((value for _, _, tops in layers for value in tops.values() if math.isfinite(value)), default=0.0)
    frame = Frame(start, end, _round_up(most))
    drawn = [_axes(frame, unit)]
    for line, bottoms, tops in layers:
        drawn += _layer(frame, bottoms, tops, line.color, filled=stacked)
    names = "".join(f'<span><i style="background:{line.color}"></i>{escape(line.name)}</span>' for line in lines)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">{"".join(drawn)}</svg>'
    return f'{svg}<div class="legend">{names}</div>'


def format_value(value: float, unit: str) -> str:
    """A value with its unit, for display."""
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
    for moments in _segments([moment for moment, value in sorted(tops.items()) if math.isfinite(value)]):
        upper = " ".join(f"{frame.x(moment):.1f},{frame.y(tops[moment]):.1f}" for moment in moments)
        if filled:
            lower = " ".join(f"{frame.x(moment):.1f},{frame.y(bottoms[moment]):.1f}" for moment in reversed(moments))
            drawn.append(f'<polygon points="{upper} {lower}" fill="{color}" fill-opacity="0.35"/>')
        drawn.append(f'<polyline points="{upper}" fill="none" stroke="{color}" stroke-width="1.3"/>')
    return drawn


def _segments(moments: Sequence[float]) -> list[list[float]]:
    """Split moments at gaps."""
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
        drawn.append(f'<text x="{_LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{format_value(value, unit)}</text>')
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


def page(prometheus: Prometheus, *, start: float, end: float, interval: str) -> str:
    """The dashboard from `start` to `end` as HTML; rates use `interval`, such as `30s`."""
    drawn = []
    for row in ROWS:
        panels = "".join(
            _graph(prometheus, panel, start, end, interval)
            if isinstance(panel, Graph)
            else _figure(prometheus, panel, start, end)
            for panel in row.panels
        )
        drawn.append(f'<h2>{row.title}</h2><div class="row">{panels}</div>')
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><h1>ProjectSetup</h1>{''.join(drawn)}"


def take_screenshot(html: str, target: Path) -> None:
    """Render the page to a PNG with a browser. Raises MonitoringError."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise MonitoringError(f"no browser found: install one of {', '.join(_BROWSERS)}")
    with TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(html)
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
            f"--window-size={PAGE_WIDTH},{PAGE_HEIGHT}",
            f"--screenshot={target.resolve()}",
            source.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    if done.returncode != 0 or not target.is_file():
        raise MonitoringError(f"the browser failed to take a screenshot: {' '.join(done.stderr.split())[-400:]}")


def _graph(prometheus: Prometheus, panel: Graph, start: float, end: float, interval: str) -> str:
    lines: list[tuple[str, dict[float, float]]] = []
    for query in panel.queries:
        expression = substitute_variables(query.expression, interval)
        found = prometheus.query_range(expression, start=start, end=end, step=(end - start) / _POINTS)
        lines += sorted(((_name(query, series), dict(series.points)) for series in found), key=itemgetter(0))
    colored = [Line(name, values, color) for (name, values), color in zip(lines, _colors(panel, lines), strict=True)]
    drawn = graph(colored, start=start, end=end, unit=panel.unit, stacked=panel.stacked)
    return f'<div class="panel graph"><div class="title">{escape(panel.title)}</div>{drawn}</div>'


def _colors(panel: Graph, lines: Sequence[tuple[str, object]]) -> Iterator[str]:
    shades = {beginning: cycle(SHADES[color]) for beginning, color in panel.colors.items()}
    others = cycle(COLORS)
    for name, _ in lines:
        yield next(next((shade for beginning, shade in shades.items() if name.startswith(beginning)), others))


def _figure(prometheus: Prometheus, panel: Figure, start: float, end: float) -> str:
    expression = substitute_variables(panel.query.expression, f"{end - start:.0f}s")
    found = prometheus.query(expression)
    value = found[0].points[-1][1] if found else float("nan")
    words = dict(panel.words)
    text = words.get(f"{value:.0f}") if words and found else format_value(value, panel.unit)
    color = next((color for least, color in reversed(panel.steps) if value >= least), None)
    shown = f'<div class="value" style="color:{_COLORS[color]}">{text}</div>'
    return f'<div class="panel"><div class="title">{escape(panel.title)}</div>{shown}</div>'


def substitute_variables(expression: str, interval: str) -> str:
    """Replace Grafana's variables in a query: all recipes, and `interval` for both time variables."""
    for name, value in {"$recipe": ".*", "$__rate_interval": interval, "$__range": interval}.items():
        expression = expression.replace(name, value)
    return expression


def _name(query: Query, series: Series) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: series.labels.get(found[1], ""), query.legend)
