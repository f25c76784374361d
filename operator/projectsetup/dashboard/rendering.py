"""Rendering to HTML; every value is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from projectsetup.api.durations import lasting
from projectsetup.api.reasons import Phase
from projectsetup.dashboard.board import board_of
from projectsetup.dashboard.rows import EndKind, Row
from projectsetup.dashboard.state import Outage, Queue
from projectsetup.dashboard.throughput import HEIGHT, WIDTH, Window, chart_of, throughput

POLL_SECONDS: Final = 2
_SHORT: Final = 160
"""Characters of a message that are shown before it is expanded."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What does not change while the dashboard runs; `namespace` None: all, `token` None: no buttons."""

    namespace: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of the last button that was pressed."""

    text: str
    done: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the cluster that one page shows."""

    rows: Sequence[Row]
    complete: bool
    queue: Queue
    outage: Outage | None
    result: ActionResult | None


_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals |= {
    "POLL_SECONDS": POLL_SECONDS,
    "SHORT": _SHORT,
    "WIDTH": WIDTH,
    "HEIGHT": HEIGHT,
    "EndKind": EndKind,
    "Phase": Phase,
    "Window": Window,
}


def render_page(frame: Frame, snapshot: Snapshot, window: Window, now: datetime) -> str:
    """Render the whole page."""
    return _render("page.html", now, frame=frame, window=window, snapshot=snapshot, **_content(snapshot, window, now))


def render_board(frame: Frame, snapshot: Snapshot, window: Window, now: datetime) -> str:
    """Render the part of the page that is refreshed."""
    return _render("board.html", now, frame=frame, window=window, snapshot=snapshot, **_content(snapshot, window, now))


def render_question(frame: Frame, row: Row, now: datetime) -> str:
    """Render the page that asks to confirm a cancel."""
    return _render("question.html", now, frame=frame, row=row)


def _content(snapshot: Snapshot, window: Window, now: datetime) -> dict[str, object]:
    ended = throughput((end for row in snapshot.rows for end in row.ends), window, now)
    return {"board": board_of(snapshot.rows), "throughput": ended, "chart": chart_of(ended)}


def _render(template: str, now: datetime, **values: object) -> str:
    def age(time: datetime) -> str:
        return lasting(now - time)

    def ahead(time: datetime) -> str:
        return f"in {lasting(time - now)}" if time > now else "due"

    def utc(time: datetime) -> str:
        return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

    values |= {"now": now}
    functions = {"age": age, "ahead": ahead, "utc": utc, "lasting": lasting}
    return _ENVIRONMENT.get_template(template).render(**values, **functions)
