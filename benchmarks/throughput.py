"""Operator cost: draining a queue, compared with a kopf operator and the write limit of the API server."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from benchmarks.arena import COLLECTION, LIMIT, NAMESPACE, ROOT, STATISTICS_DELAY, Arena, Process, Start, install, until
from benchmarks.figures import Comparison, Contender, Findings, at_least, at_most
from benchmarks.machine import cpu_seconds
from projectsetup.kube.setups import OPERATOR, SetupClient
from projectsetup.projects.record import ProjectRecord

RAW_CONCURRENCIES: Final = (4, 8, 16, 32)
"""Concurrencies tried to find the best one for raw writes."""
_EVENTS: Final = count()
"""A number for each event: a repeated event is aggregated, which takes three requests instead of one."""
_CONDITION: Final = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
__all__ = ["LIMIT", "NAMESPACE", "install", "make_projects", "measure", "measure_steps"]
AT_ONCE: Final = 16
"""Concurrent attempts of the operator and the peer."""
STEPS: Final = 7
TEXT: Final = """\
{count} setups of one step that does nothing are queued in a paused queue, which is then drained with {at_once}
concurrent attempts; {rounds} rounds in turn. Claims, processes, status writes and leader election are real. The kopf
operator (`benchmarks/kopf_peer.py`) claims and finishes with the same SQL and runs the same process; it has no queue,
no ordering, no record of failed attempts and no supervision, and reports only `Succeeded`. It is measured with an
event for the start and one for the end, and without events; ours has one for the end, since its attempts end within a
second. The raw writes show the limit of a client that does nothing else, with the same library and the best
concurrency on this machine: the two status writes per setup alone, and with the event as well. The clock runs from the
first finished setup to the last. CPU seconds include all processes of the contender and its steps. Transactions exclude
those that an idle operator makes in the same time."""
STEPS_TEXT: Final = """\
{count} setups of seven steps of /bin/true, four concurrent attempts, drained as above. The job queue that this
operator replaces reaches 157 per second on such a machine, without a Kubernetes status to write."""
OURS: Final = "this operator"
KOPF: Final = "kopf operator"
QUIET: Final = "kopf operator without events"
RAW: Final = "two raw status writes"
RAW_ALL: Final = "two raw status writes and an event"


def status(number: int) -> dict[str, object]:
    """A `.status` of realistic size, different for each number."""
    message = f"attempt 1 of 3: step nothing (1 of 1), write {number}"
    kinds = ("Succeeded", "Ready", "Reconciling", "Stalled")
    conditions = [
        {**_CONDITION, "type": kind, "status": "Unknown", "reason": "Running", "message": message} for kind in kinds
    ]
    return {"phase": "Running", "attempt": 1, "step": "nothing", "progress": f"{number}/9", "conditions": conditions}


async def raw_drain(kubeconfig: Path, versions: Mapping[str, str], at_once: int, *, writes: int, events: int) -> float:
    """Seconds for so many status writes and so many events of each ProjectSetup, which has this resourceVersion."""
    settings = Configuration()
    settings.connection_pool_maxsize = at_once
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=settings)
    async with ApiClient(settings) as api:
        cluster, left = SetupClient(api, field_manager=OPERATOR), iter(versions.items())

        async def work() -> None:
            for name, listed in left:
                version = listed
                for number in range(writes):
                    stored = await cluster.replace_status(
                        NAMESPACE, name, resource_version=version, status=status(number)
                    )
                    version = stored["metadata"]["resourceVersion"]
                for number in islice(_EVENTS, events):
                    await cluster.post_event(
                        namespace=NAMESPACE,
                        name=name,
                        uid=name,
                        reason="Started",
                        message=f"event {number}",
                        warning=False,
                        reporter="raw",
                    )

        began = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(work())
        return time.perf_counter() - began


@dataclass
class Tally:
    """Results by kind and contender, one value per round."""

    of: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, contender: str, **values: float) -> None:
        """Add one round of a contender."""
        for kind, value in values.items():
            self.of[kind][contender].append(value)

    def typical(self, kind: str, contender: str) -> float:
        """The median of its rounds."""
        return median(self.of[kind][contender])

    def contenders(self, kind: str) -> list[Contender]:
        """All contenders with results of this kind."""
        return [Contender(name=name, rounds=rounds) for name, rounds in self.of[kind].items()]


def measure(*, quick: bool) -> Findings:
    """One step that does nothing."""
    count, rounds = (100, 1) if quick else (1000, 3)
    tally = Tally()
    with Arena.open() as arena:
        arena.recipe("nothing", ":")
        for _ in range(rounds):
            tally.add(OURS, **drain_ours(arena, count, AT_ONCE, "nothing"))
            tally.add(KOPF, **drain_kopf(arena, count, {"PEER_EVENTS": "true"}))
            tally.add(QUIET, **drain_kopf(arena, count, {"PEER_EVENTS": "false"}))
            tally.add(RAW, rate=_raw(arena, count, events=0))
            tally.add(RAW_ALL, rate=_raw(arena, count, events=1))
    rate = {name: tally.typical("rate", name) for name in tally.of["rate"]}
    return Findings(
        title="Operator cost",
        text=TEXT.format(count=f"{count:,}", at_once=AT_ONCE, rounds=rounds),
        goals=[
            at_least("setups per second relative to the kopf operator", 2, rate[OURS] / rate[KOPF], "times"),
            at_least("setups per second relative to the writes they need", 60, 100 * rate[OURS] / rate[RAW_ALL], "%"),
            at_most("status writes per setup", 2, tally.typical("writes", OURS)),
            at_most("database transactions per setup", 2, round(tally.typical("transactions", OURS), 2)),
        ],
        comparisons=_comparisons(tally, f"{count:,} queued setups of one step that does nothing"),
    )


def measure_steps(*, quick: bool) -> Findings:
    """Seven steps of /bin/true, four concurrent."""
    count, rounds = (40, 1) if quick else (600, 3)
    tally = Tally()
    peer = {"PEER_EVENTS": "true", "PEER_CONCURRENCY": "4", "PEER_SCRIPTS": "\n".join(["/bin/true"] * STEPS)}
    with Arena.open() as arena:
        arena.recipe("seven", *["/bin/true"] * STEPS)
        for _ in range(rounds):
            tally.add(OURS, **drain_ours(arena, count, 4, "seven"))
            tally.add(KOPF, **drain_kopf(arena, count, peer))
    return Findings(
        title="Seven steps of /bin/true, four concurrent",
        text=STEPS_TEXT.format(count=count),
        goals=[at_least("setups per second, seven steps, four concurrent", 60, tally.typical("rate", OURS))],
        comparisons=_comparisons(tally, "setups of seven steps"),
    )


def _comparisons(tally: Tally, what: str) -> list[Comparison]:
    kinds = (
        ("rate", what, "setups per second", "more"),
        ("writes", "Writes of the resource per setup", "writes", "less"),
        ("transactions", "Database transactions per setup", "transactions", "less"),
        ("own", "CPU of the contender and its steps", "ms per setup", "less"),
        ("apiserver", "CPU of the API server", "ms per setup", "less"),
        ("etcd", "CPU of etcd", "ms per setup", "less"),
        ("postgres", "CPU of PostgreSQL", "ms per setup", "less"),
    )
    return [
        Comparison.model_validate(
            {"title": title, "unit": unit, "better": better, "contenders": tally.contenders(kind)}
        )
        for kind, title, unit, better in kinds
    ]


def drain_ours(arena: Arena, count: int, at_once: int, recipe: str) -> dict[str, float]:
    arena.queue(paused=True, concurrency=at_once)
    names = arena.projects(count)
    arena.create(names, recipe)
    with arena.operator() as process:
        until(lambda: arena.all_in("Queued"), "all to be queued", alive=process, every=0.3)
        time.sleep(STATISTICS_DELAY)
        before = arena.transactions()
        time.sleep(STATISTICS_DELAY)
        meter = Meter(arena, process)
        at_rest = (meter.transactions - before) / STATISTICS_DELAY
        arena.queue(paused=False, concurrency=at_once)
        rate = drained(arena, process, count)
        used = meter.read(count)
    made = arena.transactions() - meter.transactions - at_rest * meter.seconds()
    used["transactions"] = made / count
    arena.clear()
    return {"rate": rate, **used}


def drain_kopf(arena: Arena, count: int, options: Mapping[str, str]) -> dict[str, float]:
    arena.create(arena.projects(count), "nothing")
    with peer(arena, options) as process:
        until(lambda: arena.ready() > 0, "the first setup to finish", alive=process, every=0.01)
        left = count - arena.ready()
        meter = Meter(arena, process)  # without its start, like ours
        rate = drained(arena, process, count)
        used = meter.read(left)
    used["transactions"] = (arena.transactions() - meter.transactions) / left
    arena.clear()
    return {"rate": rate, **used}


def peer(arena: Arena, options: Mapping[str, str]) -> AbstractContextManager[Process]:
    """Run the kopf operator, which does not report readiness."""
    return arena.process(kopf_start(arena, options))


def kopf_start(arena: Arena, options: Mapping[str, str]) -> Start:
    """How to start the kopf operator."""
    environment = {"PEER_CONCURRENCY": str(AT_ONCE), "PEER_SCRIPTS": ":", **options}
    script = str(ROOT / "benchmarks" / "kopf_peer.py")
    command = [*arena.python, "-m", "kopf", "run", "--all-namespaces", "--quiet", script]
    return Start("kopf", command, environment)


class Meter:
    """Measures what a contender and the servers use from its creation on."""

    def __init__(self, arena: Arena, process: Process) -> None:
        self._arena = arena
        self._process = process
        self.transactions = arena.transactions()
        self._began = time.perf_counter()
        self._writes = arena.writes()
        self._seconds = self._now()

    def seconds(self) -> float:
        """Seconds since its creation."""
        return time.perf_counter() - self._began

    def read(self, count: int) -> dict[str, float]:
        """Writes and CPU milliseconds per setup."""
        seconds = {name: 1000 * (now - self._seconds[name]) / count for name, now in self._now().items()}
        return {"writes": (self._arena.writes() - self._writes) / count, **seconds}

    def _now(self) -> dict[str, float]:
        return {"own": cpu_seconds(self._process.pid), **self._arena.part_seconds()}


def drained(arena: Arena, process: Process, count: int) -> float:
    """Setups per second, from the first finished setup to the last reported one."""
    until(lambda: arena.ready() > 0, "the first setup to finish", alive=process, every=0.01)
    first, began = arena.ready(), time.perf_counter()
    until(lambda: arena.ready() == count, "all setups to finish", alive=process, every=0.2)
    until(lambda: arena.all_in("Succeeded"), "all results to be reported", alive=process)
    return (count - first) / (time.perf_counter() - began)


def _raw(arena: Arena, count: int, *, events: int) -> float:
    """The most setups per second that these writes allow, whatever number at once does best."""
    arena.create(arena.projects(count), "nothing")
    kubeconfig = arena.cluster.kubeconfig
    share = max(count // 10, 10)

    def versions() -> dict[str, str]:
        found = [body["metadata"] for body in arena.wire.get(COLLECTION)["items"]]
        return {metadata["name"]: metadata["resourceVersion"] for metadata in found}

    def run(number: int, at_once: int) -> float:
        chosen = dict(list(versions().items())[:number])
        return asyncio.run(raw_drain(kubeconfig, chosen, at_once, writes=2, events=events))

    best = min(RAW_CONCURRENCIES, key=lambda at_once: run(share, at_once))
    rate = count / run(count, best)
    arena.clear()
    return rate


async def make_projects(url: str, names: list[str]) -> None:
    """Create projects with these ids."""
    async with ProjectRecord.connect(url) as record:
        for name in names:
            repository = f"https://git.example/{name}.git"
            await record.create(name=name, code_repo=repository, project_id=UUID(name))
