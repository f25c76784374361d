"""The operator is killed between each pair of its writes, and another one takes up what it has left."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.chaos import faulty_operator
from tests.support.chaos.fault_run import FaultRun, NewFaultRun, Setup
from tests.support.chaos.history import Body
from tests.support.chaos.invariants import Figures, check_invariants
from tests.support.chaos.options import IS_LONG
from tests.support.operator_process import OperatorProcess, wait_for

FAULTY: Final = (sys.executable, str(Path(faulty_operator.__file__)))
AT_ONCE: Final = 3
LIMIT: Final = 90.0
TIME_TO_ACT: Final = 0.5
"""Seconds of a stubborn step's every part: there is time to cancel it or to delete its ProjectSetup."""

Deed = Callable[[FaultRun, OperatorProcess, Setup], object]


def nothing(*_: object) -> None:
    """The operator comes to its end by itself."""


def await_step(fault_run: FaultRun, setup: Setup, number: int) -> None:
    """Return when the step of this number has begun."""
    wait_for(
        lambda: fault_run.step_log.tells(setup.project, "begin", times=number), f"step {number} to begin", limit=LIMIT
    )


def kill_in_step(fault_run: FaultRun, operator: OperatorProcess, setup: Setup) -> None:
    await_step(fault_run, setup, 2)
    operator.kill()


def cancel(fault_run: FaultRun, _: OperatorProcess, setup: Setup) -> None:
    await_step(fault_run, setup, 2)
    fault_run.cancel(setup)


def delete(fault_run: FaultRun, _: OperatorProcess, setup: Setup) -> None:
    await_step(fault_run, setup, 2)
    fault_run.delete(setup)


def killed_while_it_stops(deed: Deed) -> Deed:
    """That deed, and the operator is killed when the step has been told to stop."""

    def both(fault_run: FaultRun, operator: OperatorProcess, setup: Setup) -> None:
        deed(fault_run, operator, setup)
        wait_for(
            lambda: fault_run.step_log.tells(setup.project, "stopping"), "the step to be told to stop", limit=LIMIT
        )
        operator.kill()

    return both


def terminate(fault_run: FaultRun, operator: OperatorProcess, setup: Setup) -> None:
    await_step(fault_run, setup, 2)
    operator.process.send_signal(signal.SIGTERM)


def retry(fault_run: FaultRun, _: OperatorProcess, setup: Setup) -> None:
    wait_for(lambda: fault_run.status(setup).get("phase") == "Failed", "the first series to fail", limit=LIMIT)
    fault_run.sandbox.annotate(setup.project, "retry-requested-at", "now")


@dataclass(frozen=True, slots=True)
class Case:
    """Where it is killed, in whose life, and what comes of it: `ran` attempts, the last told as number `attempt`."""

    name: str
    fault: str = "none * before SIGKILL"
    mood: str = "calm"
    deed: Deed = nothing
    phase: str | None = "Succeeded"
    ran: int = 1
    attempt: int = 1
    burned: int = 0
    given_back: int = 0
    paused: bool = False

    def run(self, new_fault_run: NewFaultRun) -> Outcome:
        """Let one operator be killed, start another, and see what becomes of the setup."""
        with new_fault_run(leader_election="false", shutdown_grace="100ms") as fault_run:
            if self.paused:
                fault_run.pause()
            setup = fault_run.submit(self.mood, seconds=TIME_TO_ACT if self.mood == "stubborn" else 0.1)
            faulty = fault_run.operator(command=FAULTY, environment={"FAULT": self.fault}).start(ready=False)
            self.deed(fault_run, faulty, setup)
            wait_for(lambda: not faulty.alive, f"the operator to be killed {self.name}", limit=LIMIT)
            killed = faulty.process.returncode == -signal.SIGKILL
            wait_for(lambda: not fault_run.living(), "its processes to be gone", limit=2.0)
            if self.paused:
                fault_run.resume()
            fault_run.step_log.gate.touch()
            fault_run.operator().start(ready=False)
            fault_run.await_ends(limit=LIMIT)
            fault_run.await_no_remains()
            return Outcome(killed, fault_run.status(setup), check_invariants(fault_run))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    killed: bool
    status: Body
    figures: Figures


CASES: tuple[Case, ...] = (
    Case("after the claim that starts", "claim initializing after SIGKILL"),
    Case("after .status tells running", "replace_status Running after SIGKILL", attempt=2, burned=1),
    Case("in a step", mood="gated", deed=kill_in_step, ran=2, attempt=2, burned=1),
    Case("after success is recorded", "finish Succeeded after SIGKILL"),
    Case("after a retry is recorded", "finish RetryScheduled after SIGKILL", mood="transient", ran=3, attempt=3),
    Case("while a cancelled step ends", mood="stubborn", deed=killed_while_it_stops(cancel), phase="Cancelled"),
    Case("after a cancel is recorded", "finish Cancelled after SIGKILL", "stubborn", cancel, "Cancelled"),
    Case("while a deleted step ends", mood="stubborn", deed=killed_while_it_stops(delete), phase=None),
    Case("before a claim is released", "release * before SIGKILL", "stubborn", delete, None),
    Case("after giving back", "finish Returned after SIGKILL", "gated", terminate, ran=2, given_back=1),
)
MORE_CASES: Final = (
    Case("before the claim that queues", "claim setup_queued before SIGKILL", paused=True),
    Case("after the claim that queues", "claim setup_queued after SIGKILL", paused=True),
    Case("after .status tells queued", "replace_status Queued after SIGKILL", paused=True),
    Case("before the claim that starts", "claim initializing before SIGKILL"),
    Case("when the engine is asked to run", "run * before SIGKILL", attempt=2, burned=1),
    Case("after a step is marked", "mark * after SIGKILL", ran=2, attempt=2, burned=1),
    Case("after the last step, before anybody knows", "run * after SIGKILL", ran=2, attempt=2, burned=1),
    Case("before success is recorded", "finish Succeeded before SIGKILL", ran=2, attempt=2, burned=1),
    Case("after .status tells success", "replace_status Succeeded after SIGKILL"),
    Case("after failure is recorded", "finish Failed after SIGKILL", mood="failing", phase="Failed"),
    Case("after .status tells a retry", "replace_status BackingOff after SIGKILL", mood="transient", ran=3, attempt=3),
    Case("before a cancel is recorded", "finish Cancelled before SIGKILL", "stubborn", cancel, "Cancelled"),
    Case("after a claim is released", "release * after SIGKILL", "stubborn", delete, None),
    Case(
        "after .status tells a new series", "replace_status Queued after SIGKILL 2", "failing", retry, "Failed", ran=2
    ),
)
if IS_LONG:
    CASES = (*CASES, *MORE_CASES)


@pytest.fixture(scope="module")
def outcomes(
    new_fault_run: NewFaultRun,
    frozen_leaders: object,  # noqa: ARG001  # they wait meanwhile
) -> Iterator[dict[str, Future[Outcome]]]:
    """All cases, some at a time: most of each is waiting."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {case.name: pool.submit(case.run, new_fault_run) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_kill(case: Case, outcomes: dict[str, Future[Outcome]]) -> None:
    outcome = outcomes[case.name].result()
    assert outcome.killed, "it was not killed where it should have been"
    assert outcome.status.get("phase") == case.phase
    assert outcome.figures.run == case.ran
    assert (outcome.figures.burned, outcome.figures.given_back) == (case.burned, case.given_back)
    if case.phase is not None:
        assert outcome.status["attempt"] == case.attempt


def test_figures(outcomes: dict[str, Future[Outcome]], tell: Callable[[object], None]) -> None:
    figures = [future.result().figures for future in outcomes.values()]
    tell(
        f"killed at {len(figures)} points between two writes; {sum(one.run for one in figures)} attempts ran, "
        f"{sum(one.burned for one in figures)} interrupted, {sum(one.given_back for one in figures)} given back"
    )
    assert len(figures) == len(CASES)
