"""What happens to a setup whose controller is killed in the middle: when work continues, and what runs twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf, isinf
from statistics import median
from typing import Final
from uuid import uuid4

from benchmarks.arena import TimedOut
from benchmarks.controllers import Process
from benchmarks.figures import Comparison, Contender, Goal, Table, at_least, at_most, number
from benchmarks.step_calls import StepCalls

STEPS: Final = 7
KILLED_AT: Final = 3
DOWN: Final = 1.0
"""Seconds until a killed controller is started again."""
STEP_SECONDS: Final = 1
ROUNDS: Final = 3
"""How often the controller of a contender is killed; once is enough for a slow one."""


def scripts(url: str, name: str) -> list[str]:
    """Steps that report their start to `StepCalls` at `url`, and take a second."""
    return [f"wget -qO /dev/null {url}/{name}/{step}; sleep {STEP_SECONDS}" for step in range(STEPS)]


@dataclass(frozen=True, slots=True)
class Target:
    """A contender, running, whose controller can be killed.

    `create` creates a run with this name; `await_success` returns when it has been reported as succeeded, and raises
    TimedOut, at the latest `limit` seconds later.
    """

    name: str
    controller: Process
    create: Callable[[str], None]
    await_success: Callable[[str], None]
    limit: float


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Seconds from a kill until work continued, and how many steps ran more than once.

    `next_step` is that of the interrupted run, `new_work` the first step of a run that was created after the kill.
    `reported` begins with the end of the last step of the interrupted run. What did not happen within `limit` seconds
    is infinite.
    """

    name: str
    next_step: float
    new_work: float
    reported: float
    repeated: int
    limit: float = inf


def kill_in_the_middle(target: Target, calls: StepCalls) -> Aftermath:
    """Kill the controller of a contender while a step of its only run is running, and start it again."""
    interrupted, created_later = str(uuid4()), str(uuid4())
    target.create(interrupted)
    calls.wait_for(interrupted, KILLED_AT, target.limit)
    target.controller.kill()
    killed = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        restarted = pool.submit(_start_later, target.controller)
        target.create(created_later)
        reported = _succeeded(target, interrupted)
        _succeeded(target, created_later)
        restarted.result()
    last = _started(calls, interrupted, STEPS - 1)
    after = Aftermath(
        name=target.name,
        next_step=_started(calls, interrupted, KILLED_AT + 1) - killed,
        new_work=_started(calls, created_later, 0) - killed,
        reported=inf if isinf(reported) else reported - last - STEP_SECONDS,
        repeated=calls.repeated(interrupted, created_later),
        limit=target.limit,
    )
    print(f"{target.name}, controller killed: {after}", file=sys.stderr, flush=True)
    return after


def goals(ours: Sequence[Aftermath], peers: Sequence[Sequence[Aftermath]]) -> list[Goal]:
    """Ours compared with the best peer; each has one or more rounds.

    If every peer runs steps of an interrupted run again, ours may run as many again as the best of them.
    """
    finished = [after.repeated for peer in peers for after in peer if not isinf(after.reported)]
    allowed = min(finished, default=0)

    def ahead(what: str, value: Callable[[Aftermath], float]) -> Goal:
        best = min(_typical(peer, value) for peer in peers)
        return at_least(f"after a kill: {what}, best peer relative to ours", 1, best / _typical(ours, value), "times")

    return [
        ahead("time until new work starts", lambda after: after.new_work),
        ahead("time until the end is reported", lambda after: after.reported),
        at_most("after a kill: steps that ran twice, most in one", allowed, max(after.repeated for after in ours)),
    ]


def table(contenders: Iterable[Sequence[Aftermath]]) -> Table:
    """A line for each contender, with the medians of its rounds."""
    return Table(
        title="The controller or worker is killed",
        columns=[
            "",
            "kills",
            "s until the next step of the interrupted run",
            "s until the first step of new work",
            "s from the last step until the end is reported",
            "steps that ran twice, all kills",
        ],
        rows=[
            [
                rounds[0].name,
                str(len(rounds)),
                *(_seconds(_typical(rounds, value), rounds[0].limit) for value, _ in _FIGURES),
                str(sum(after.repeated for after in rounds)),
            ]
            for rounds in contenders
        ],
    )


def comparisons(contenders: Sequence[Sequence[Aftermath]]) -> list[Comparison]:
    """The same for the table of peers."""
    seconds = [_comparison(contenders, value, f"after a kill, {what}", "s") for value, what in _FIGURES]
    repeated = _comparison(contenders, lambda after: after.repeated, "after a kill, steps that ran twice", "steps")
    return [*seconds, repeated]


def _comparison(
    contenders: Sequence[Sequence[Aftermath]], value: Callable[[Aftermath], float], headline: str, unit: str
) -> Comparison:
    measured = [
        Contender(
            name=rounds[0].name,
            rounds=[min(value(after), after.limit) for after in rounds],
            unfinished=isinf(_typical(rounds, value)),
        )
        for rounds in contenders
    ]
    return Comparison(title=headline, headline=headline, unit=unit, contenders=measured)


_FIGURES: Final[Sequence[tuple[Callable[[Aftermath], float], str]]] = (
    (lambda after: after.next_step, "next step of the interrupted run"),
    (lambda after: after.new_work, "first step of new work"),
    (lambda after: after.reported, "from the last step until the end is reported"),
)


def _typical(rounds: Sequence[Aftermath], value: Callable[[Aftermath], float]) -> float:
    return median(value(after) for after in rounds)


def _seconds(value: float, limit: float) -> str:
    return f"not within {number(limit)}" if isinf(value) else number(value)


def _started(calls: StepCalls, name: str, step: int) -> float:
    at = calls.started(name, step)
    return inf if at is None else at


def _succeeded(target: Target, name: str) -> float:
    """`time.perf_counter()` when a run was reported as succeeded; infinite if that took too long."""
    try:
        target.await_success(name)
    except TimedOut:
        return inf
    return time.perf_counter()


def _start_later(controller: Process) -> None:
    time.sleep(DOWN)
    controller.start()
