"""Many resources, few of them active: startup, memory, cost at rest, cost of an event, and cost of imports."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.arena import COLLECTION, MERGE_PATCH, ROOT, Arena, Body, Process, Start, until
from benchmarks.figures import Comparison, Contender, Curve, Findings, Series, Table, at_most, number
from benchmarks.machine import children, cpu_seconds, memory, peak
from benchmarks.throughput import OURS
from projectsetup.controller.controller import RESYNC_PERIOD

WATCHER: Final = "kopf, watching only"
ACTIVE: Final = 100
"""One in this many resources is active."""
BASE, EACH = 130.0, 4.0
"""The memory goal: MiB for the operator, and KiB per resource."""
EVENTS: Final = 300
QUIET: Final = 2.0
"""Seconds of low CPU use after which a process counts as settled."""
TEXT: Final = """\
Of {sizes} ProjectSetups, one in a hundred is active (queued in a paused queue); the others have succeeded. The
operator starts with all of them present. Measured are the time until `/readyz` answers; memory once it has settled
(operator and supervisor, and the peak of the operator); CPU and writes at rest, from the end of one comparison with a
full list to the end of the next, {rest} s later; and the CPU cost of one event: a label of a finished resource
changes, {events} times between two comparisons. The peer is kopf with a handler that does nothing
(`benchmarks/kopf_watcher.py`): the cost of watching alone. The job queue that this operator replaces uses 62 MB at
rest."""
_IMPORTS: Final = (
    "asyncio", "ssl", "aiohttp", "kubernetes.aio.client", "kopf", "pydantic", "pydantic_settings",
    "sqlalchemy", "psycopg", "structlog", "prometheus_client", "typer", "projectsetup.bootstrap",
)  # fmt: skip
_MEASURE_IMPORTS: Final = """
import importlib, sys, time
def resident():
    lines = open("/proc/self/smaps_rollup").read().splitlines()[1:]
    return int(dict(line.split()[:2] for line in lines)["Rss:"]) / 1024
print("python", resident(), 0.0, len(sys.modules))
for name in sys.argv[1:]:
    before, modules, began = resident(), len(sys.modules), time.perf_counter()
    importlib.import_module(name)
    print(name, resident() - before, time.perf_counter() - began, len(sys.modules) - modules)
"""


@dataclass(frozen=True, slots=True)
class _Measured:
    ready: float
    """Seconds; 0 where it cannot be measured."""
    resident: float
    share: float
    most: float
    """MiB: resident, proportional share, and peak resident."""
    rest: float
    """Milliseconds of CPU per second at rest."""
    writes: float
    event: float
    """Milliseconds of CPU."""


def measure(*, quick: bool) -> Findings:
    """The operator and the watcher, size by size."""
    sizes, rest = ((300, 1000), 1.0) if quick else ((1_000, 10_000, 50_000), RESYNC_PERIOD)
    found: dict[str, list[_Measured]] = {OURS: [], WATCHER: []}
    made = 0
    with Arena.open() as arena:
        arena.queue(paused=True, concurrency=4)
        arena.recipe("nothing", ":")
        for size in sizes:
            _add(arena, size - made)
            made = size
            _make_queued(arena, size // ACTIVE)
            for name, contender in ((OURS, arena.operator()), (WATCHER, _watcher(arena))):
                with contender as process:
                    found[name].append(_measured(arena, process, rest))
    return _findings(sizes, found, TEXT.format(sizes=_listed(sizes), rest=f"{RESYNC_PERIOD:.0f}", events=EVENTS))


def _add(arena: Arena, count: int) -> None:
    active = count // ACTIVE
    arena.create(arena.projects(active), "nothing")
    arena.create(arena.projects(count - active), "nothing", status=succeeded())


def _make_queued(arena: Arena, active: int) -> None:
    with arena.operator() as operator:
        until(lambda: arena.in_phase("Queued") == active, "the active setups to be queued", alive=operator)


def succeeded() -> Body:
    """The `.status` of a successful setup, as the operator writes it."""
    when = "2026-01-01T00:00:00Z"
    message = "the project was set up and is ready: all 7 steps have ended well"
    truths = {"Succeeded": "True", "Ready": "True", "Reconciling": "False", "Stalled": "False"}
    condition = {"lastTransitionTime": when, "reason": "SetupSucceeded", "message": message, "observedGeneration": 1}
    attempt = {"number": 1, "startedAt": when, "finishedAt": when, "outcome": "Succeeded"}
    return {
        "observedGeneration": 1,
        "phase": "Succeeded",
        "projectStatus": "ready",
        "progress": "7/7",
        "attempt": 1,
        "maxAttempts": 3,
        "queuedAt": when,
        "startedAt": when,
        "finishedAt": when,
        "attempts": [{**attempt, "reason": "SetupSucceeded", "message": message}],
        "commits": {"codeRepo": "0" * 40, "docsRepo": "1" * 40},
        "conditions": [{**condition, "type": kind, "status": truth} for kind, truth in truths.items()],
    }


@contextmanager
def _watcher(arena: Arena) -> Iterator[Process]:
    script = str(ROOT / "benchmarks" / "kopf_watcher.py")
    command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--quiet", script]
    with arena.process(Start("watcher", command, {})) as process:
        yield process


def _measured(arena: Arena, process: Process, rest: float) -> _Measured:
    ready = time.perf_counter() - process.began if process.port else 0.0
    _settle(process)
    settled = [memory(pid) for pid in (process.pid, *children(process.pid))]
    names = [body["metadata"]["name"] for body in arena.wire.get(f"{COLLECTION}?limit={EVENTS}")["items"]]
    _rest(arena, process, rest)
    writes, used, began = arena.writes(), cpu_seconds(process.pid), time.perf_counter()
    _rest(arena, process, rest)
    at_rest = (cpu_seconds(process.pid) - used) / (time.perf_counter() - began)
    return _Measured(
        ready=ready,
        resident=sum(part.rss for part in settled),
        share=sum(part.pss for part in settled),
        most=peak(process.pid),
        rest=1000 * at_rest,
        writes=arena.writes() - writes,
        event=_cost_of_event(arena, process, names),
    )


def _rest(arena: Arena, process: Process, seconds: float) -> None:
    """Wait for the next comparison of the operator; the peer makes none, so wait `seconds`."""
    if not process.port:
        time.sleep(seconds)
        return
    lists = arena.lists()
    until(lambda: arena.lists() > lists, "a comparison to begin", alive=process, every=0.5)
    _settle(process)


def _cost_of_event(arena: Arena, process: Process, names: Sequence[str]) -> float:
    """Milliseconds of CPU; RuntimeError if a comparison began meanwhile and spoiled the figure."""
    lists, used = arena.lists(), cpu_seconds(process.pid)
    for name in names:
        patch = {"metadata": {"labels": {"touched": str(time.time_ns())}}}
        arena.wire.call("PATCH", f"{COLLECTION}/{name}", patch, MERGE_PATCH)
    _settle(process)
    cost = 1000 * (cpu_seconds(process.pid) - used) / len(names)
    if arena.lists() > lists:
        raise RuntimeError(f"{len(names)} events did not finish before the next comparison")
    return cost


def _settle(process: Process) -> None:
    """Wait until it uses little CPU for a while."""

    def is_quiet() -> bool:
        used = cpu_seconds(process.pid)
        time.sleep(QUIET)
        return cpu_seconds(process.pid) - used < 0.05 * QUIET

    until(is_quiet, "the operator to settle", alive=process)


def _findings(sizes: Sequence[int], found: dict[str, list[_Measured]], text: str) -> Findings:
    ours = found[OURS]
    goals = [
        at_most(f"memory at {size:,} resources", BASE + EACH * size / 1024, measured.resident, "MiB")
        for size, measured in zip(sizes, ours, strict=True)
    ]
    goals += [at_most(f"ready at {sizes[1]:,} resources", 10, ours[1].ready, "s")]
    goals += [at_most("writes at rest", 0, max(measured.writes for measured in ours))]
    goals += [
        at_most("cost of one event, most relative to fewest resources", 1.5, ours[-1].event / ours[0].event, "times")
    ]
    columns = (
        "resources",
        "ready, s",
        "RSS, MiB",
        "PSS, MiB",
        "peak RSS, MiB",
        "CPU at rest, ms/s",
        "writes",
        "event, ms",
    )
    rows = []
    for name, measures in found.items():
        for size, measured in zip(sizes, measures, strict=True):
            figures = (measured.ready, measured.resident, measured.share, measured.most, measured.rest, measured.writes)
            rows.append([name, f"{size:,}", *(number(figure) for figure in (*figures, measured.event))])
    comparisons = [
        Comparison(
            title=f"Memory at {size:,} resources",
            unit="MiB",
            contenders=[Contender(name=name, rounds=[measures[index].resident]) for name, measures in found.items()],
        )
        for index, size in reversed(list(enumerate(sizes)))
    ]
    limit = Series(name="goal", points=[(size, BASE + EACH * size / 1024) for size in sizes])
    curve = Curve(
        title="Memory by number of resources",
        x="resources",
        y="MiB",
        series=[*(_memory(name, sizes, measures) for name, measures in found.items()), limit],
    )
    tables = [Table(title="At scale", columns=["", *columns], rows=rows), _imports()]
    return Findings(title="Scale", text=text, goals=goals, comparisons=comparisons, curves=[curve], tables=tables)


def _memory(name: str, sizes: Sequence[int], measures: Sequence[_Measured]) -> Series:
    return Series(name=name, points=[(size, measured.resident) for size, measured in zip(sizes, measures, strict=True)])


def _imports() -> Table:
    """What each import adds to those above it; shared dependencies count for the first one that needs them."""
    runs = [
        subprocess.run([sys.executable, "-c", _MEASURE_IMPORTS, *_IMPORTS], check=True, capture_output=True, text=True)
        for _ in range(3)
    ]
    lines_of_runs = [[line.split() for line in run.stdout.splitlines()] for run in runs]
    rows = []
    for lines in zip(*lines_of_runs, strict=True):
        size, took = (median(float(line[column]) for line in lines) for column in (1, 2))
        rows.append([lines[0][0], f"{size:.1f}", f"{1000 * took:.0f}", lines[0][3]])
    total = [sum(float(row[column]) for row in rows) for column in (1, 2, 3)]
    rows.append(["all", *(f"{figure:,.0f}" for figure in total)])
    return Table(title="Cost of imports", columns=["import", "MiB", "ms", "modules"], rows=rows)


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(f"{size:,}" for size in sizes[:-1]) + f" and {sizes[-1]:,}"
