"""What happens to a setup whose controller is killed in the middle: when work continues, and what runs twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from benchmarks.controllers import Process
from benchmarks.figures import Goal, Table, at_least, at_most, number
from benchmarks.node import Bench, Contender
from benchmarks.step_calls import StepCalls

STEPS: Final = 7
KILLED_AT: Final = 3
DOWN: Final = 1.0
"""Seconds until a killed controller is started again."""
STEP_SECONDS: Final = 1


def scripts(url: str, name: str) -> list[str]:
    """Steps that report their start to `StepCalls` at `url`, and take a second."""
    return [f"wget -qO /dev/null {url}/{name}/{step}; sleep {STEP_SECONDS}" for step in range(STEPS)]


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Seconds from a kill until work continued, and how many steps ran more than once.

    `next_step` is that of the interrupted run, `new_work` the first step of a run that was created after the kill.
    `reported` begins with the end of the last step of the interrupted run.
    """

    name: str
    next_step: float
    new_work: float
    reported: float
    repeated: int


def kill_in_the_middle(bench: Bench, contender: Contender, controller: Process, calls: StepCalls) -> Aftermath:
    """Kill the controller of a contender while a step of its only run is running, and start it again."""
    interrupted, created_later = str(uuid4()), str(uuid4())
    version = bench.version(contender)
    contender.create([interrupted])
    calls.wait_for(interrupted, KILLED_AT, contender.limit)
    controller.kill()
    killed = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        restarted = pool.submit(_start_later, controller)
        contender.create([created_later])
        bench.await_succeeded(contender, [interrupted], version)
        reported = time.perf_counter()
        bench.await_succeeded(contender, [created_later], version)
        restarted.result()
    last = calls.wait_for(interrupted, STEPS - 1, contender.limit)
    return Aftermath(
        name=contender.name,
        next_step=calls.wait_for(interrupted, KILLED_AT + 1, contender.limit) - killed,
        new_work=calls.wait_for(created_later, 0, contender.limit) - killed,
        reported=reported - last - STEP_SECONDS,
        repeated=calls.repeated(interrupted, created_later),
    )


def goals(ours: Aftermath, peers: Sequence[Aftermath]) -> list[Goal]:
    """Ours compared with the best peer."""
    work = min(peer.new_work for peer in peers)
    report = min(peer.reported for peer in peers)
    return [
        at_least("after a kill: time until new work starts, best peer relative to ours", 1, work / ours.new_work),
        at_least("after a kill: time until the end is reported, best peer relative to ours", 1, report / ours.reported),
        at_most("after a kill: steps that ran twice", 0, ours.repeated),
    ]


def table(all_: Sequence[Aftermath]) -> Table:
    """A line for each contender."""
    return Table(
        title="The controller is killed",
        columns=[
            "",
            "s until the next step of the interrupted run",
            "s until the first step of new work",
            "s from the last step until the end is reported",
            "steps that ran twice",
        ],
        rows=[
            [one.name, number(one.next_step), number(one.new_work), number(one.reported), str(one.repeated)]
            for one in all_
        ],
    )


def _start_later(controller: Process) -> None:
    time.sleep(DOWN)
    controller.start()
