"""What `queue show` prints: the settings of the queue, who waits and who runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from kubernetes.aio.client import ApiClient
from rich.text import Text

from projectsetup.api.durations import lasting
from projectsetup.api.limits import Limit, LimitKind, Limits
from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.api.reasons import Phase
from projectsetup.cli.output import Format, full_name, write_data, write_text
from projectsetup.cli.status import ELASTIC, ended
from projectsetup.cli.tables import fields, table
from projectsetup.kube.client import RestClient
from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.errors import ApiForbidden, ApiNotFound
from projectsetup.kube.informer import ObjectKey
from projectsetup.kube.lease import LEASE_DURATION, LEASE_GROUP, LEASE_NAME, LEASE_VERSION
from projectsetup.kube.queue_config import (
    CONCURRENCY,
    PAUSED,
    PER_NAMESPACE,
    QueueControl,
    parse_queue_control,
    read_queue_config,
)
from projectsetup.kube.setups import COMMAND_LINE, SetupClient

MAX_SILENCE: Final = timedelta(seconds=LEASE_DURATION)
"""A leader that is alive renews its Lease more often."""
MAX_ROWS: Final = 10
"""Of a table; scripts get all."""
SPARE: Final = ("PRIORITY", "NAMESPACE", "STEP")
"""Columns of a table that a narrow terminal loses, in this order."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who holds the Lease of the operators and when it was last renewed; both None if nobody does."""

    name: str | None = None
    renewed_at: datetime | None = None

    def describe(self, now: datetime) -> str:
        """In words. A killed operator holds its Lease until another takes it, so this says how long it is silent."""
        if self.name is None:
            return "none is running"
        silence = now - self.renewed_at if self.renewed_at else timedelta()
        return f"{self.name}, lease last renewed {lasting(silence)} ago" if silence > MAX_SILENCE else self.name


@dataclass(frozen=True, slots=True)
class Line:
    """The setups that have not ended, by what they are doing."""

    running: Sequence[ProjectSetupResource]
    """Those that hold a slot, longest first."""
    waiting: Sequence[ProjectSetupResource]
    """Those that wait for a slot, in the order in which they start."""
    backing_off: Sequence[ProjectSetupResource]
    """Those that wait for their next attempt, the next one first."""
    suspended: int

    def held_back(self, limits: Limits) -> dict[ObjectKey, Limit]:
        """The limit that each setup waits for which may not start even if a slot is free."""
        running = self.counts(limits)
        reached = {r.key: limits.reached(limits.of(r.namespace, r.recipe), running) for r in self.waiting}
        return {key: limit for key, limit in reached.items() if limit is not None}

    def counts(self, limits: Limits) -> Counter[Limit]:
        """How many of those that run count towards each limit."""
        return Counter(limit for r in self.running for limit in limits.of(r.namespace, r.recipe))

    def by_priority(self) -> list[tuple[int, list[ProjectSetupResource]]]:
        """Those that wait, by priority."""
        return [(priority, list(found)) for priority, found in groupby(self.waiting, key=attrgetter("priority"))]


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue at one moment."""

    namespace: str
    """Where the operator runs."""
    control: QueueControl
    problem: str | None
    """What is invalid in the ConfigMap."""
    leader: Leader | None
    """None if the user may not read the Lease."""
    line: Line
    within: str | None
    """The only namespace whose ProjectSetups the user may list; None if all."""


async def show_queue(kubeconfig: Kubeconfig, given: str | None, output: Format) -> None:
    """Print the queue; with `-o name`, the setups that wait: the next one first, those that a limit holds back last."""
    namespace = kubeconfig.operator_namespace(given)
    async with await connect(kubeconfig) as api:
        data, leader, (resources, within) = await asyncio.gather(
            read_queue_config(RestClient(api), namespace), _leader(api, namespace), visible_setups(api, kubeconfig)
        )
    control, problem = parse_queue_control(data)
    state = QueueState(namespace, control, problem, leader, line_up(resources), within)
    if output is not Format.TABLE:
        write_data(queue_value(state), output, names=[full_name(resource.name) for resource in _in_order(state)])
    else:
        write_text(queue_text(state, datetime.now(UTC)))


async def _leader(api: ApiClient, namespace: str) -> Leader | None:
    path = f"/apis/{LEASE_GROUP}/{LEASE_VERSION}/namespaces/{namespace}/leases/{LEASE_NAME}"
    try:
        lease = await RestClient(api).call(f"read Lease {namespace}/{LEASE_NAME}", "GET", path)
    except ApiNotFound:
        return Leader()
    except ApiForbidden:
        return None
    holder, renewed = lease["spec"].get("holderIdentity"), lease["spec"].get("renewTime")
    return Leader(holder, datetime.fromisoformat(renewed) if renewed else None) if holder else Leader()


async def visible_setups(api: ApiClient, kubeconfig: Kubeconfig) -> tuple[list[ProjectSetupResource], str | None]:
    """All ProjectSetups; if the user may not list those, the ones of the current namespace, and its name."""
    setups, within = SetupClient(api, field_manager=COMMAND_LINE), None
    try:
        bodies = await setups.list(None)
    except ApiForbidden:
        within = kubeconfig.namespace(None)
        bodies = await setups.list(within)
    return list(map(parse_resource, bodies)), within


def line_up(resources: Iterable[ProjectSetupResource]) -> Line:
    """Sort the setups as the operator does: by (priority, `queuedAt`, namespace/name)."""
    active = [resource for resource in resources if ended(resource) is None and not resource.deleting]
    found = {phase: [r for r in active if r.status.phase is phase] for phase in Phase}
    pending = [resource for resource in active if resource.status.phase is None]
    return Line(
        running=sorted(found[Phase.RUNNING], key=lambda r: (r.status.started_at or r.created_at, r.key)),
        waiting=sorted(found[Phase.QUEUED] + pending, key=attrgetter("rank")),
        backing_off=sorted(found[Phase.BACKING_OFF], key=lambda r: (r.status.next_attempt_at or r.created_at, r.key)),
        suspended=len(found[Phase.SUSPENDED]),
    )


def queue_text(state: QueueState, now: datetime) -> Text:
    """The queue for people."""
    line, leader, control = state.line, state.leader, state.control

    def setting(key: str, value: object) -> object:
        return "unknown, the value is invalid" if key in control.unknown else value

    text = fields(
        {
            "Namespace": state.namespace,
            "Operator": leader.describe(now) if leader else "unknown (you are not allowed to read its Lease)",
            "Paused": setting(PAUSED, "yes, no new attempts start" if control.paused else "no"),
            "Concurrency": setting(
                CONCURRENCY, "default of the operator" if control.concurrency is None else control.concurrency
            ),
            "Per namespace": setting(PER_NAMESPACE, control.limits.per_namespace),
            "Slots": _slots(state),
            "Waiting": _waiting(line, now),
            "Backing off": _backing_off(line, now),
            "Suspended": line.suspended or "",
            "Scope": f"namespace {state.within} only (you are not allowed to list the others)" if state.within else "",
            "Invalid": state.problem,
        }
    )
    for part in (_priorities(line, now), _limits(state), _next(state, now), _running(line, now)):
        if part is not None:
            text.append("\n\n").append_text(part)
    return text


def queue_value(state: QueueState) -> dict[str, Any]:
    """The queue for scripts."""
    line = state.line
    held_back = line.held_back(state.control.limits)

    def waits_for(resource: ProjectSetupResource) -> dict[str, Any] | None:
        limit = held_back.get(resource.key)
        return limit and {"limit": limit.kind, "name": limit.name, "most": state.control.limits.most(limit)}

    value = {
        "namespace": state.namespace,
        "paused": None if PAUSED in state.control.unknown else state.control.paused,
        "concurrency": state.control.concurrency,
        "concurrencyPerNamespace": state.control.limits.per_namespace,
        "concurrencyPerRecipe": dict(state.control.limits.per_recipe),
        "pausedRecipes": sorted(state.control.limits.paused_recipes),
        "running": [{**_entry(r), "step": r.status.step, "progress": r.status.progress} for r in line.running],
        "waiting": [{**_entry(r), "queuedAt": _stamp(r.queued_at), "waitsFor": waits_for(r)} for r in line.waiting],
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


def _waiting(line: Line, now: datetime) -> str:
    return f"{len(line.waiting)}, the longest for {_age(_oldest(line.waiting), now)}" if line.waiting else "0"


def _backing_off(line: Line, now: datetime) -> str:
    due = line.backing_off[0].status.next_attempt_at if line.backing_off else None
    next_in = f", the next in {lasting(due - now)}" if due else ""
    return f"{len(line.backing_off)}{next_in}" if line.backing_off else ""


def _oldest(resources: Iterable[ProjectSetupResource]) -> datetime | None:
    return min((resource.queued_at for resource in resources), default=None)


def _priorities(line: Line, now: datetime) -> Text | None:
    rows = [(priority, len(found), _age(_oldest(found), now)) for priority, found in line.by_priority()]
    return table(("PRIORITY", "WAITING", "LONGEST"), rows) if rows else None


def _in_order(state: QueueState) -> list[ProjectSetupResource]:
    """Those that wait, those first that a limit does not hold back."""
    held_back = state.line.held_back(state.control.limits)
    return sorted(state.line.waiting, key=lambda resource: resource.key in held_back)


def _limits(state: QueueState) -> Text | None:
    """The limits of recipes, and those of namespaces that hold a setup back."""
    limits, line = state.control.limits, state.line
    running, waiting = line.counts(limits), Counter(line.held_back(limits).values())
    recipes = {Limit(LimitKind.RECIPE, name) for name in {*limits.per_recipe, *limits.paused_recipes}}
    rows = [
        (_limit_text(limit), running[limit], _most(limits, limit), waiting[limit])
        for limit in sorted({*waiting, *recipes})
    ]
    return table(("LIMIT", "RUNNING", "MOST", "WAITING"), rows) if rows else None


def _limit_text(limit: Limit) -> str:
    return f"{limit.kind} {limit.name}"


def _most(limits: Limits, limit: Limit) -> object:
    return "paused" if limit.name in limits.paused_recipes and limit.kind is LimitKind.RECIPE else limits.most(limit)


def _next(state: QueueState, now: datetime) -> Text | None:
    """Those that wait; only those that may start have a place."""
    held_back = state.line.held_back(state.control.limits)
    columns = ("NEXT", "ID", "PROJECT", "NAMESPACE", "PRIORITY", "FOR", *(["LIMIT"] if held_back else []))
    rows = []
    for place, r in enumerate(_in_order(state)[:MAX_ROWS], start=1):
        limit = held_back.get(r.key)
        row = ("" if limit else place, r.name, r.project_name, r.namespace, r.priority, _age(r.queued_at, now))
        rows.append((*row, _limit_text(limit) if limit else "") if held_back else row)
    return _with_count(_table(columns, rows), state.line.waiting) if rows else None


def _running(line: Line, now: datetime) -> Text | None:
    columns = ("RUNNING", "PROJECT", "NAMESPACE", "STEP", "PROGRESS", "FOR")
    rows = [
        (r.name, r.project_name or "", r.namespace, r.status.step, r.status.progress, _age(r.status.started_at, now))
        for r in line.running[:MAX_ROWS]
    ]
    return _with_count(_table(columns, rows), line.running) if rows else None


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Text:
    return table(columns, rows, spare=SPARE, elastic=ELASTIC)


def _with_count(shown: Text, resources: Sequence[ProjectSetupResource]) -> Text:
    more = len(resources) - MAX_ROWS
    return shown.append(f"\n… and {more} more", style="dim") if more > 0 else shown


def _entry(resource: ProjectSetupResource) -> dict[str, Any]:
    return {
        "namespace": resource.namespace,
        "name": resource.name,
        "project": resource.project_name,
        "priority": resource.priority,
    }


def _age(since: datetime | None, now: datetime) -> str:
    return "" if since is None else lasting(now - since)


def _stamp(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
