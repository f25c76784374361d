"""How the queue looks, to people and to scripts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.text import Text

from projectsetup.api.durations import lasting
from projectsetup.api.models import ProjectSetupResource
from projectsetup.cli.queue_line import Line
from projectsetup.cli.tables import fields, table
from projectsetup.kube.queue_config import QueueControl
from projectsetup.kube.vacancy import LEASE_DURATION

SILENCE: Final = timedelta(seconds=LEASE_DURATION)
"""An operator that leads renews its Lease more often."""
MOST_ROWS: Final = 10
"""Of a table; scripts get all."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who holds the Lease of the operators, and when it was renewed; both None: nobody does."""

    name: str | None = None
    renewed_at: datetime | None = None

    def told(self, now: datetime) -> str:
        """In words. An operator that was killed holds its Lease until another takes it, so silence is told."""
        if self.name is None:
            return "none leads"
        silence = now - self.renewed_at if self.renewed_at else timedelta()
        return f"{self.name}, silent for {lasting(silence)}" if silence > SILENCE else self.name


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue at one moment."""

    namespace: str
    """Where the operator runs."""
    control: QueueControl
    problem: str | None
    """What of the ConfigMap is not understood."""
    leader: Leader | None
    """None: the Lease may not be read."""
    line: Line
    within: str | None
    """The one namespace whose ProjectSetups may be listed; None: all may."""


def queue_text(state: QueueState, now: datetime) -> Text:
    """The queue for people."""
    line = state.line
    text = fields(
        {
            "Namespace": state.namespace,
            "Operator": state.leader.told(now) if state.leader else "not known: you may not read its Lease",
            "Paused": "yes: nothing new is started" if state.control.paused else "no",
            "Concurrency": "as the operator is set" if state.control.concurrency is None else state.control.concurrency,
            "Slots": _slots(state),
            "Waiting": _with_time(len(line.waiting), "the longest for", _oldest(line.waiting), now),
            "Backing off": _backing_off(line, now),
            "Suspended": line.suspended or "",
            "Counted": f"namespace {state.within} alone: you may not list those of all" if state.within else "",
            "Not understood": state.problem,
        }
    )
    for part in (_priorities(line, now), _next(line, now), _running(line, now)):
        if part is not None:
            text.append("\n\n").append_text(part)
    return text


def queue_value(state: QueueState) -> dict[str, Any]:
    """The queue for scripts."""
    line = state.line
    value = {
        "namespace": state.namespace,
        "paused": state.control.paused,
        "concurrency": state.control.concurrency,
        "running": [{**_entry(r), "step": r.status.step, "progress": r.status.progress} for r in line.running],
        "waiting": [{**_entry(r), "queuedAt": _stamp(r.queued_at)} for r in line.waiting],
        "waitingByPriority": {str(priority): len(found) for priority, found in line.by_priority()},
        "backingOff": [{**_entry(r), "nextAttemptAt": _stamp(r.status.next_attempt_at)} for r in line.backing_off],
        "suspended": line.suspended,
    }
    if state.leader:
        value |= {"operator": state.leader.name, "operatorRenewedAt": _stamp(state.leader.renewed_at)}
    optional = {"problem": state.problem, "within": state.within}
    return value | {name: text for name, text in optional.items() if text}


def _slots(state: QueueState) -> str:
    used, limit = len(state.line.running), state.control.concurrency
    return f"{used} in use" if limit is None else f"{used} of {limit} in use"


def _backing_off(line: Line, now: datetime) -> str:
    due = line.backing_off[0].status.next_attempt_at if line.backing_off else None
    next_in = f", the next in {lasting(due - now)}" if due else ""
    return f"{len(line.backing_off)}{next_in}" if line.backing_off else ""


def _with_time(number: int, words: str, since: datetime | None, now: datetime) -> str:
    return str(number) if since is None else f"{number}, {words} {lasting(now - since)}"


def _oldest(resources: Iterable[ProjectSetupResource]) -> datetime | None:
    return min((resource.queued_at for resource in resources), default=None)


def _priorities(line: Line, now: datetime) -> Text | None:
    rows = [(priority, len(found), _age(_oldest(found), now)) for priority, found in line.by_priority()]
    return table(("PRIORITY", "WAITING", "LONGEST"), rows) if rows else None


def _next(line: Line, now: datetime) -> Text | None:
    rows = [
        (place, r.name, r.namespace, r.priority, _age(r.queued_at, now))
        for place, r in enumerate(line.waiting[:MOST_ROWS], start=1)
    ]
    return _cut(table(("NEXT", "ID", "NAMESPACE", "PRIORITY", "WAITS"), rows), line.waiting) if rows else None


def _running(line: Line, now: datetime) -> Text | None:
    rows = [
        (r.name, r.namespace, r.status.step or "", r.status.progress or "", _age(r.status.started_at, now))
        for r in line.running[:MOST_ROWS]
    ]
    return _cut(table(("RUNNING", "NAMESPACE", "STEP", "PROGRESS", "FOR"), rows), line.running) if rows else None


def _cut(shown: Text, all_of_them: Iterable[ProjectSetupResource]) -> Text:
    more = len(list(all_of_them)) - MOST_ROWS
    return shown.append(f"\n… and {more} more", style="dim") if more > 0 else shown


def _entry(resource: ProjectSetupResource) -> dict[str, Any]:
    return {"namespace": resource.namespace, "name": resource.name, "priority": resource.priority}


def _age(since: datetime | None, now: datetime) -> str:
    return "" if since is None else lasting(now - since)


def _stamp(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
