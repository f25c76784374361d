"""A picture of the dashboard, drawn without Grafana from what a Prometheus answers to its queries."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from html import escape
from itertools import cycle
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from monitoring.drawing import COLORS, SHADES, Line, graph, told
from monitoring.errors import MonitoringError
from monitoring.panels import ROWS, Figure, Graph, Query
from monitoring.prometheus import Prometheus, Series

WIDTH: Final = 1500
HEIGHT: Final = 1600
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


def page(prometheus: Prometheus, *, start: float, end: float, interval: str) -> str:
    """The dashboard of this time as HTML; rates are taken over `interval`, such as `30s`."""
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


def photograph(html: str, target: Path) -> None:
    """Let a browser draw the page into a PNG. Raises MonitoringError."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise MonitoringError(f"there is no browser to draw with: none of {', '.join(_BROWSERS)}")
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
            f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={target.resolve()}",
            source.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    if done.returncode != 0 or not target.is_file():
        raise MonitoringError(f"the browser drew nothing: {' '.join(done.stderr.split())[-400:]}")


def _graph(prometheus: Prometheus, panel: Graph, start: float, end: float, interval: str) -> str:
    lines: list[tuple[str, dict[float, float]]] = []
    for query in panel.queries:
        expression = filled_in(query.expression, interval)
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
    expression = filled_in(panel.query.expression, f"{end - start:.0f}s")
    found = prometheus.query(expression)
    value = found[0].points[-1][1] if found else float("nan")
    words = dict(panel.words)
    text = words.get(f"{value:.0f}") if words and found else told(value, panel.unit)
    color = next((color for least, color in reversed(panel.steps) if value >= least), None)
    shown = f'<div class="value" style="color:{_COLORS[color]}">{text}</div>'
    return f'<div class="panel"><div class="title">{escape(panel.title)}</div>{shown}</div>'


def filled_in(expression: str, interval: str) -> str:
    """A query with Grafana's variables replaced: all recipes, and `interval` in the place of both of its own."""
    for name, value in {"$recipe": ".*", "$__rate_interval": interval, "$__range": interval}.items():
        expression = expression.replace(name, value)
    return expression


def _name(query: Query, series: Series) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: series.labels.get(found[1], ""), query.legend)
