"""Rendering to HTML; every value is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from projectsetup.api.durations import format_duration, lasting
from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import Phase
from projectsetup.dashboard.attempts import Attempt, time_line
from projectsetup.dashboard.board import board_of
from projectsetup.dashboard.rows import EndKind, Row, address_of
from projectsetup.dashboard.setup_log import Heading, LogPart, ShownLine
from projectsetup.dashboard.state import Outage, Queue
from projectsetup.dashboard.throughput import HEIGHT, WIDTH, Window, chart_of, throughput
from projectsetup.kube.setup_events import SeenEvent

POLL_SECONDS: Final = 2
_ONE_MINUTE: Final = timedelta(minutes=1)
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
    search: str = ""
    """What the names and ids of `rows` contain; empty: these are all."""


@dataclass(frozen=True, slots=True)
class SetupFacts:
    """What the page of one setup shows beside its log.

    `pinned` is the run that its address names, None: the latest. `events` is None if they cannot be read;
    `problems` says why something could not be read.
    """

    now: datetime
    resource: ProjectSetupResource
    row: Row
    attempts: Sequence[Attempt]
    """Latest first."""
    chosen: Attempt | None
    pinned: str | None
    events: Sequence[SeenEvent] | None
    has_history: bool
    problems: Sequence[str]
    outage: Outage | None
    result: ActionResult | None


_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.tests |= {
    "heading": lambda entry: isinstance(entry, Heading),
    "line": lambda entry: isinstance(entry, ShownLine),
}
_ENVIRONMENT.globals |= {
    "address_of": address_of,
    "format_duration": format_duration,
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


def render_question(frame: Frame, row: Row, now: datetime, *, on_page: bool = False) -> str:
    """Render the page that asks to confirm a cancel; `on_page`: it was requested on the page of the setup."""
    return _render("question.html", now, frame=frame, row=row, on_page=on_page)


def render_setup(frame: Frame, facts: SetupFacts, log: LogPart | str) -> str:
    """Render the page of one setup; `log` may say why there is no log."""
    return _render("setup.html", facts.now, frame=frame, log=log, **_overview(facts))


def render_overview(frame: Frame, facts: SetupFacts) -> str:
    """Render the part of a setup's page that is refreshed."""
    return _render("overview.html", facts.now, frame=frame, **_overview(facts))


def render_log_part(resource: ProjectSetupResource, log: LogPart) -> str:
    """Render what follows in a log."""
    return _render("log.html", datetime.now(UTC), address=address_of(resource), log=log)


def _overview(facts: SetupFacts) -> dict[str, object]:
    steps = time_line(facts.chosen, facts.now) if facts.chosen else ()
    return {"facts": facts, "row": facts.row, "steps": steps, "address": address_of(facts.row)}


def _content(snapshot: Snapshot, window: Window, now: datetime) -> dict[str, object]:
    ended = throughput((end for row in snapshot.rows for end in row.ends), window, now)
    return {"board": board_of(snapshot.rows), "throughput": ended, "chart": chart_of(ended)}


def took(duration: timedelta) -> str:
    """A duration of a step or attempt; below a minute with tenths of a second."""
    return f"{duration.total_seconds():.1f}s" if duration < _ONE_MINUTE else lasting(duration)


def _render(template: str, now: datetime, **values: object) -> str:
    def age(time: datetime) -> str:
        return lasting(now - time)

    def ahead(time: datetime) -> str:
        return f"in {lasting(time - now)}" if time > now else "due"

    def utc(time: datetime) -> str:
        return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

    def clock(time: datetime) -> str:
        return f"{time.astimezone(UTC):%H:%M:%S}"

    values |= {"now": now}
    functions = {"age": age, "ahead": ahead, "utc": utc, "clock": clock, "lasting": lasting, "took": took}
    return _ENVIRONMENT.get_template(template).render(**values, **functions)
