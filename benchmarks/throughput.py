"""Operator cost: many queued setups drained, beside a kopf operator and the API server's own write limit."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import median
from typing import Final
from uuid import UUID

from benchmarks import raw_writes
from benchmarks.arena import LIMIT, ROOT, STATISTICS_DELAY, Arena, Process, install, until
from benchmarks.figures import Comparison, Contender, Findings, at_least, at_most
from benchmarks.usage import cpu_seconds
from benchmarks.wire import COLLECTION, NAMESPACE
from projectsetup.projects.record import ProjectRecord

__all__ = ["LIMIT", "NAMESPACE", "install", "make_projects", "measure", "measure_steps"]

AT_ONCE: Final = 16
"""Attempts at once, of ours and of the peer."""
STEPS: Final = 7
TEXT: Final = """\
{count} setups of one step that does nothing wait in a queue that is paused, then the queue is drained; {at_once}
attempts at once, {rounds} rounds in turn. Real claim, real process, real status, leader election on. The kopf
operator (`benchmarks/kopf_peer.py`) claims and ends by the same SQL and runs the same process; it has no queue, no
order, no record of a broken attempt, no supervision, and tells `Succeeded` alone. It is measured with the two events
that ours leaves, and without events. The raw writes are what a client does that only writes, by the same
library and as many at once as is best here: the two status writes of a setup, and those with its two events, which
are what a setup needs. The clock runs from the first setup that is over to the last. CPU seconds are those of all
processes of the contender, its steps included. Transactions are those beyond what an operator at rest asks of the
database in the same time."""
STEPS_TEXT: Final = """\
{count} setups of seven steps of /bin/true, four attempts at once, drained as above. The job queue that this
replaces does 157 a second on such a machine, with no Kubernetes status to write."""


@dataclass
class _Tally:
    """What a contender came to, one value a round of each kind."""

    of: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, contender: str, **values: float) -> None:
        """One round of one contender."""
        for kind, value in values.items():
            self.of[kind][contender].append(value)

    def typical(self, kind: str, contender: str) -> float:
        """The median of its rounds."""
        return median(self.of[kind][contender])

    def contenders(self, kind: str) -> list[Contender]:
        """All of whom this was measured."""
        return [Contender(name=name, rounds=rounds) for name, rounds in self.of[kind].items()]


OURS: Final = "this operator"
KOPF: Final = "kopf operator"
QUIET: Final = "kopf operator without events"
RAW: Final = "two raw status writes"
RAW_ALL: Final = "two raw status writes and two events"


def measure(*, quick: bool) -> Findings:
    """One step that does nothing."""
    count, rounds = (100, 1) if quick else (2000, 3)
    tally = _Tally()
    with Arena.open() as arena:
        arena.recipe("nothing", ":")
        for _ in range(rounds):
            tally.add(OURS, **_drain_ours(arena, count, AT_ONCE, "nothing"))
            tally.add(KOPF, **_drain_peer(arena, count, {"PEER_EVENTS": "true"}))
            tally.add(QUIET, **_drain_peer(arena, count, {"PEER_EVENTS": "false"}))
            tally.add(RAW, rate=_raw(arena, count, events=0))
            tally.add(RAW_ALL, rate=_raw(arena, count, events=2))
    rate = {name: tally.typical("rate", name) for name in tally.of["rate"]}
    return Findings(
        title="Operator cost",
        text=TEXT.format(count=f"{count:,}", at_once=AT_ONCE, rounds=rounds),
        goals=[
            at_least("setups a second beside the kopf operator", 2, rate[OURS] / rate[KOPF], "times"),
            at_least("setups a second beside the writes that they need", 60, 100 * rate[OURS] / rate[RAW_ALL], "%"),
            at_most("status writes of a setup", 2, tally.typical("writes", OURS)),
            at_most("database transactions of a setup", 2, round(tally.typical("transactions", OURS), 2)),
        ],
        comparisons=_comparisons(tally, f"{count:,} queued setups of one step that does nothing"),
    )


def measure_steps(*, quick: bool) -> Findings:
    """Seven steps of /bin/true, four at once."""
    count, rounds = (40, 1) if quick else (600, 3)
    tally = _Tally()
    peer = {"PEER_EVENTS": "true", "PEER_CONCURRENCY": "4", "PEER_SCRIPTS": "\n".join(["/bin/true"] * STEPS)}
    with Arena.open() as arena:
        arena.recipe("seven", *["/bin/true"] * STEPS)
        for _ in range(rounds):
            tally.add(OURS, **_drain_ours(arena, count, 4, "seven"))
            tally.add(KOPF, **_drain_peer(arena, count, peer))
    return Findings(
        title="Seven steps of /bin/true, four at once",
        text=STEPS_TEXT.format(count=count),
        goals=[at_least("setups a second, seven steps, four at once", 60, tally.typical("rate", OURS))],
        comparisons=_comparisons(tally, "setups of seven steps"),
    )


def _comparisons(tally: _Tally, what: str) -> list[Comparison]:
    kinds = (
        ("rate", what, "setups a second", "more"),
        ("writes", "Writes of the resource a setup", "writes", "less"),
        ("transactions", "Database transactions a setup", "transactions", "less"),
        ("own", "CPU of the contender and its steps", "ms a setup", "less"),
        ("apiserver", "CPU of the API server", "ms a setup", "less"),
        ("etcd", "CPU of etcd", "ms a setup", "less"),
        ("postgres", "CPU of PostgreSQL", "ms a setup", "less"),
    )
    return [
        Comparison.model_validate(
            {"title": title, "unit": unit, "better": better, "contenders": tally.contenders(kind)}
        )
        for kind, title, unit, better in kinds
    ]


def _drain_ours(arena: Arena, count: int, at_once: int, recipe: str) -> dict[str, float]:
    arena.queue(paused=True, concurrency=at_once)
    names = arena.projects(count)
    arena.create(names, recipe)
    with arena.operator() as process:
        until(lambda: arena.all_in("Queued"), "all to be queued", alive=process, every=0.3)
        time.sleep(STATISTICS_DELAY)
        before = arena.transactions()
        time.sleep(STATISTICS_DELAY)
        meter = _Meter(arena, process)
        at_rest = (meter.transactions - before) / STATISTICS_DELAY
        arena.queue(paused=False, concurrency=at_once)
        rate = _drained(arena, process, count)
        used = meter.read(count)
    made = arena.transactions() - meter.transactions - at_rest * meter.seconds()
    used["transactions"] = made / count
    arena.clear()
    return {"rate": rate, **used}


def _drain_peer(arena: Arena, count: int, options: Mapping[str, str]) -> dict[str, float]:
    arena.create(arena.projects(count), "nothing")
    with peer(arena, options) as process:
        meter = _Meter(arena, process)
        rate = _drained(arena, process, count)
        used = meter.read(count)
    used["transactions"] = (arena.transactions() - meter.transactions) / count
    arena.clear()
    return {"rate": rate, **used}


def peer(arena: Arena, options: Mapping[str, str]) -> AbstractContextManager[Process]:
    """The kopf operator; it is not known when it is ready."""
    environment = {"PEER_CONCURRENCY": str(AT_ONCE), "PEER_SCRIPTS": ":", **options}
    script = str(ROOT / "benchmarks" / "kopf_peer.py")
    command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--quiet", script]
    return arena.process("kopf", command, environment)


class _Meter:
    """Counts from its making on what a contender and the servers use."""

    def __init__(self, arena: Arena, process: Process) -> None:
        self._arena = arena
        self._process = process
        self.transactions = arena.transactions()
        self._began = time.perf_counter()
        self._writes = arena.writes()
        self._seconds = self._now()

    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._began

    def read(self, count: int) -> dict[str, float]:
        """Writes, and milliseconds of CPU, of one setup."""
        seconds = {name: 1000 * (now - self._seconds[name]) / count for name, now in self._now().items()}
        return {"writes": (self._arena.writes() - self._writes) / count, **seconds}

    def _now(self) -> dict[str, float]:
        return {"own": cpu_seconds(self._process.pid), **self._arena.part_seconds()}


def _drained(arena: Arena, process: Process, count: int) -> float:
    """Setups a second, from the first that is over to the last that is told."""
    until(lambda: arena.ready() > 0, "the first setup to be over", alive=process, every=0.01)
    first, began = arena.ready(), time.perf_counter()
    until(lambda: arena.ready() == count, "all setups to be over", alive=process, every=0.2)
    until(lambda: arena.all_in("Succeeded"), "all ends to be told", alive=process)
    return (count - first) / (time.perf_counter() - began)


def _raw(arena: Arena, count: int, *, events: int) -> float:
    """The most setups a second that these writes allow, whatever number at once does best."""
    arena.create(arena.projects(count), "nothing")
    kubeconfig = arena.cluster.kubeconfig
    share = max(count // 10, 10)

    def versions() -> dict[str, str]:
        found = [body["metadata"] for body in arena.wire.get(COLLECTION)["items"]]
        return {metadata["name"]: metadata["resourceVersion"] for metadata in found}

    def run(number: int, at_once: int) -> float:
        chosen = dict(list(versions().items())[:number])
        return asyncio.run(raw_writes.drained(kubeconfig, chosen, at_once, writes=2, events=events))

    best = min(raw_writes.AT_ONCE, key=lambda at_once: run(share, at_once))
    rate = count / run(count, best)
    arena.clear()
    return rate


async def make_projects(url: str, names: list[str]) -> None:
    """Put projects with these ids into the record."""
    async with ProjectRecord.connect(url) as record:
        for name in names:
            repository = f"https://git.example/{name}.git"
            await record.create(name=name, code_repo=repository, project_id=UUID(name))
