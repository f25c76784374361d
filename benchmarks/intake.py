"""Setups requested in SQL: the latency of one on an idle operator, and memory, cost and order of many at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.arena import NAMESPACE, Arena, Process, until
from benchmarks.figures import Comparison, Contender, Curve, Findings, Goal, Series, Table, at_most, number, percentile
from benchmarks.latency import LIMIT, PAUSE, distribution, successes
from benchmarks.machine import Memory, cpu_seconds, memory, peak, reset_peak
from projectsetup.api.constants import PRIORITY
from projectsetup.projects.requests import PAGE

SQL: Final = "requested in SQL"
APPLY: Final = "created through the API"
SEED: Final = 7
MEDIAN, P95 = 0.5, 0.95
TEXT: Final = """\
First one setup at a time on an otherwise idle operator, {samples} each, alternately requested with `setup_project` in
SQL and created through the API server. Measured from the acknowledgement of the commit or of the creation until the
first `date` of its step has run. Then {many:,} at once with random priorities, in a paused queue, so that only their
creation counts: requested in one transaction, and created through the API by four connections. Measured are the memory
of the operator before and at its peak, until all are `Queued`, and the CPU of all servers. The operator reads requests
in pages of {page} and creates one ProjectSetup at a time; the order in which it handled them is compared with
(priority, age)."""


@dataclass(frozen=True, slots=True)
class _Burst:
    before: Memory
    peak: float
    """MiB."""
    seconds: float
    operator: float
    api_server: float
    postgres: float
    """Milliseconds of CPU per setup."""
    writes: float


def measure(*, quick: bool) -> Findings:
    """Latency of one, then many at once."""
    samples, many = (10, 300) if quick else (150, 10_000)
    with Arena.open() as arena:
        latencies = _latencies(arena, samples)
    with _paused() as arena:
        requested, wrong = _requested(arena, many)
    with _paused() as arena:  # deleting that many takes longer than a new one
        created = _created(arena, many)
    text = TEXT.format(samples=samples, many=many, page=PAGE)
    return _findings(latencies, {SQL: requested, APPLY: created}, wrong, many, text)


def _findings(
    latencies: dict[str, list[float]], bursts: dict[str, _Burst], wrong: int, many: int, text: str
) -> Findings:
    medians = {name: percentile(values, MEDIAN) for name, values in latencies.items()}
    requested, created = bursts[SQL], bursts[APPLY]
    comparisons = [
        _comparison(
            f"first process, {title}", "ms", {name: percentile(values, share) for name, values in latencies.items()}
        )
        for title, share in (("median", MEDIAN), ("95th percentile", P95))
    ]
    comparisons += [
        _comparison(f"{many:,} at once, peak memory", "MiB", {name: burst.peak for name, burst in bursts.items()}),
        _comparison(f"{many:,} at once", "s until queued", {name: burst.seconds for name, burst in bursts.items()}),
        _comparison(
            f"{many:,} at once, API server",
            "ms of CPU each",
            {name: burst.api_server for name, burst in bursts.items()},
        ),
    ]
    goals = [
        at_most(
            "commit to first process beyond creation to first process, median", 10, medians[SQL] - medians[APPLY], "ms"
        ),
        Goal(what="handled out of order", limit="0", measured=f"{wrong} of {many:,}", met=wrong == 0),
        at_most("peak memory relative to creation through the API", 1.1, requested.peak / created.peak, "times"),
        at_most(
            "writes to the API server relative to creation through it", 1.1, requested.writes / created.writes, "times"
        ),
    ]
    series = [Series(name=name, points=distribution(values)) for name, values in latencies.items()]
    rows = [
        [
            name,
            number(burst.before.rss),
            number(burst.peak),
            number(many / burst.seconds),
            number(burst.operator),
            number(burst.api_server),
            number(burst.postgres),
            number(burst.writes),
        ]
        for name, burst in bursts.items()
    ]
    columns = ["", "MiB before", "MiB at the peak", "a second", "ms of CPU each: operator", "API server", "PostgreSQL"]
    return Findings(
        title="Requests in SQL",
        text=text,
        goals=goals,
        comparisons=comparisons,
        curves=[Curve(title="Share of setups, commit or creation to first process", x="ms", y="%", series=series)],
        tables=[Table(title=f"{many:,} at once", columns=[*columns, "writes each"], rows=rows)],
    )


def _comparison(title: str, unit: str, values: dict[str, float]) -> Comparison:
    contenders = [Contender(name=name, rounds=[value]) for name, value in values.items()]
    return Comparison(title=title, unit=unit, contenders=contenders)


def _operator_environment() -> dict[str, str]:
    return {"PROJECTSETUP_INTAKE_NAMESPACE": NAMESPACE}


def _latencies(arena: Arena, samples: int) -> dict[str, list[float]]:
    """Milliseconds until the first process; the first of each kind is not counted, since caches are cold."""
    stamps = arena.folder / "stamps"
    stamps.mkdir()
    arena.recipe("stamped", f"date +%s%N > {stamps}/$PROJECT_ID")
    found: dict[str, list[float]] = {SQL: [], APPLY: []}
    names = iter(arena.projects(2 * (samples + 1)))
    with (
        arena.operator(_operator_environment()),
        successes(arena) as seen,
        psycopg.connect(arena.cluster.database_url) as sql,
    ):
        for _ in range(samples + 1):
            for kind, values in found.items():
                name = next(names)
                if kind == APPLY:
                    arena.create([name], "stamped")
                else:
                    sql.execute("SELECT setup_project(%s, recipe => 'stamped')", (name,))
                    sql.commit()
                acknowledged = time.time_ns()
                seen.get(timeout=LIMIT)
                values.append((_stamp(stamps / name) - acknowledged) / 1e6)
                time.sleep(PAUSE)
    return {kind: values[1:] for kind, values in found.items()}


def _stamp(file: Path) -> int:
    return int(file.read_text())


@contextmanager
def _paused() -> Iterator[Arena]:
    with Arena.open() as arena:
        arena.queue(paused=True, concurrency=1)
        arena.recipe("nothing", ":")
        yield arena


def _requested(arena: Arena, many: int) -> tuple[_Burst, int]:
    """What many requests in one transaction cost, and how many were handled out of order."""
    arena.projects(many)
    with arena.operator(_operator_environment()) as process, psycopg.connect(arena.cluster.database_url) as sql:

        def request() -> None:
            sql.execute("SELECT setseed(0.5)")
            sql.execute(
                "SELECT setup_project(id, recipe => 'nothing', priority => floor(random() * 10)::int) FROM projects"
            )
            sql.commit()
            until(lambda: not _pending(arena), "all requests to be handled", alive=process, every=0.5)

        burst = _burst(arena, process, many, request)
        handled = sql.execute("SELECT priority, number FROM setup_requests ORDER BY handled_at").fetchall()
    return burst, sum(had != wanted for had, wanted in zip(handled, sorted(handled), strict=True))


def _pending(arena: Arena) -> int:
    return int(arena.query("SELECT count(*) FROM setup_requests WHERE handled_at IS NULL")[0][0])


def _created(arena: Arena, many: int) -> _Burst:
    names = arena.projects(many)
    order = random.Random(SEED)  # noqa: S311  # no secret
    priorities = {name: str(order.randrange(10)) for name in names}
    with arena.operator(_operator_environment()) as process:
        return _burst(
            arena, process, many, lambda: arena.create(names, "nothing", lambda name: {PRIORITY: priorities[name]})
        )


def _burst(arena: Arena, process: Process, many: int, start: Callable[[], None]) -> _Burst:
    """What it costs until all are queued; `start` returns once all exist."""
    reset_peak(process.pid)
    before, used, parts, writes = memory(process.pid), cpu_seconds(process.pid), arena.part_seconds(), arena.writes()
    began = time.monotonic()
    start()
    until(lambda: arena.all_in("Queued"), "all to be queued", alive=process, every=0.5)
    seconds, parts_after = time.monotonic() - began, arena.part_seconds()
    spent = {name: 1000 * (parts_after[name] - before) / many for name, before in parts.items()}
    return _Burst(
        before=before,
        peak=peak(process.pid),
        seconds=seconds,
        operator=1000 * (cpu_seconds(process.pid) - used) / many,
        api_server=spent["apiserver"],
        postgres=spent["postgres"],
        writes=(arena.writes() - writes) / many,
    )
