"""Start order, and the cost of a start in a short and in a long queue."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from benchmarks.arena import COLLECTION, NAMESPACE, Arena, Body, Process, until
from benchmarks.figures import Comparison, Contender, Findings, Goal, at_most
from benchmarks.machine import cpu_seconds
from projectsetup.api.constants import PRIORITY
from projectsetup.api.models import Rank
from projectsetup.controller.slots import Slots
from projectsetup.controller.workqueue import Key

SHORT: Final = 10
PICKS: Final = 2000
ROUNDS: Final = 7
SEED: Final = 7
TEXT: Final = """\
{depth:,} setups of one step that does nothing wait in a paused queue with random priorities from 0 to 9. They start
one at a time; each records its id, and the first {starts:,} are compared with the order (priority, `queuedAt`,
namespace/name). The cost of a start is the CPU of operator and step with that many queued, and with {short} queued
that are replaced as they start. The cost of picking alone is that of the in-memory queue: grant the free slot to the
first, release it, enqueue another."""


def measure(*, quick: bool) -> Findings:
    """A long queue and a short one."""
    depth, starts = (200, 50) if quick else (10_000, 1_000)
    with Arena.open() as arena:
        arena.recipe("noted", f"echo $PROJECT_ID >> {arena.folder}/order")
        wrong, long = _drain(arena, depth, starts)
        short = [_drain(arena, SHORT, SHORT)[1] for _ in range(2 if quick else 20)]
    picks = {size: [_picking(size) for _ in range(ROUNDS)] for size in (depth, SHORT)}
    comparisons = [
        _comparison("Picking the next setup", "µs", depth, picks[depth], picks[SHORT]),
        _comparison("One start in total", "ms of CPU", depth, [long], short),
    ]
    ratio = comparisons[0].contenders[0].typical / comparisons[0].contenders[1].typical
    return Findings(
        title="Priority and fairness",
        text=TEXT.format(depth=depth, starts=starts, short=SHORT),
        goals=[
            Goal(what="starts out of order", limit="0", measured=f"{wrong} of {starts:,}", met=wrong == 0),
            at_most(f"picking from {depth:,} relative to picking from {SHORT}", 2, ratio, "times"),
        ],
        comparisons=comparisons,
    )


def _comparison(title: str, unit: str, depth: int, long: list[float], short: list[float]) -> Comparison:
    contenders = [Contender(name=f"{depth:,} queued", rounds=long), Contender(name=f"{SHORT} queued", rounds=short)]
    return Comparison(title=title, unit=unit, contenders=contenders)


def _drain(arena: Arena, depth: int, starts: int) -> tuple[int, float]:
    """How many of the first starts were out of order, and the CPU milliseconds per start."""
    arena.queue(paused=True, concurrency=1)
    rng = random.Random(SEED)  # noqa: S311  # no secret
    priorities = {name: str(rng.randrange(10)) for name in arena.projects(depth)}
    arena.create(list(priorities), "noted", lambda name: {PRIORITY: priorities[name]})
    with arena.operator() as process:
        until(lambda: arena.all_in("Queued"), "all to be queued", alive=process, every=0.5)
        expected = _expected(arena.wire.get(COLLECTION)["items"], priorities)[:starts]
        used = cpu_seconds(process.pid)
        arena.queue(paused=False, concurrency=1)
        until(lambda: arena.ready() >= starts, "enough setups to finish", alive=process, every=0.02)
        cost = 1000 * (cpu_seconds(process.pid) - used) / arena.ready()
        arena.queue(paused=True, concurrency=1)
        _until_idle(arena, process)
    order = arena.folder / "order"
    started = order.read_text().split()[:starts]
    order.unlink()
    arena.clear()
    return sum(had != wanted for had, wanted in zip(started, expected, strict=True)), cost


def _until_idle(arena: Arena, process: Process) -> None:
    until(lambda: arena.in_phase("Running") == 0, "started setups to finish", alive=process)


def _expected(bodies: list[Body], priorities: dict[str, str]) -> list[str]:
    def rank(body: Body) -> tuple[int, str, str]:
        name = body["metadata"]["name"]
        return int(priorities[name]), body["status"]["queuedAt"], f"{NAMESPACE}/{name}"

    return [body["metadata"]["name"] for body in sorted(bodies, key=rank)]


def _picking(depth: int) -> float:
    """Microseconds to grant a slot in a queue of this depth and enqueue a replacement."""
    slots, newcomers = Slots(capacity=1), _newcomers()
    for _ in range(depth):
        slots.enqueue(*next(newcomers))
    began = time.perf_counter()
    for _ in range(PICKS):
        (first,) = slots.grant()
        slots.release(first)
        slots.enqueue(*next(newcomers))
    return (time.perf_counter() - began) / PICKS * 1e6


def _newcomers() -> Iterator[tuple[Key, Rank]]:
    rng = random.Random(SEED)  # noqa: S311  # no secret
    for number in count():
        queued = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(10_000))
        yield (NAMESPACE, f"{number}"), Rank(rng.randrange(10), queued, f"{NAMESPACE}/{number}")
