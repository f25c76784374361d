"""The operator is killed between each pair of its writes, and another one resumes its work."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pytest

from tests.support.chaos.fault_run import FAULTY_OPERATOR, IS_LONG, FaultRun, FaultSetup, NewFaultRun
from tests.support.chaos.invariants import Figures, check_invariants
from tests.support.chaos.setup_history import Body
from tests.support.operator_process import OperatorProcess, wait_for

PARALLEL: Final = 3
LIMIT: Final = 90.0
TIME_TO_ACT: Final = 0.5
"""Seconds that a lingering step waits four times: enough to cancel it or to delete its ProjectSetup."""

Action = Callable[[FaultRun, OperatorProcess, FaultSetup], object]


def no_action(*_: object) -> None:
    """The fault ends the operator."""


def await_step(run: FaultRun, setup: FaultSetup, number: int) -> None:
    """Return when the step of this number has begun."""
    wait_for(lambda: run.step_log.has(setup.name, "begin", times=number), f"step {number} to begin", limit=LIMIT)


def kill_in_step(run: FaultRun, operator: OperatorProcess, setup: FaultSetup) -> None:
    await_step(run, setup, 2)
    operator.kill()


def cancel(run: FaultRun, _: OperatorProcess, setup: FaultSetup) -> None:
    await_step(run, setup, 2)
    run.cancel(setup)


def delete(run: FaultRun, _: OperatorProcess, setup: FaultSetup) -> None:
    await_step(run, setup, 2)
    run.delete(setup)


def killed_while_it_stops(action: Action) -> Action:
    """Do that action, and kill the operator once the step has received SIGTERM."""

    def both(run: FaultRun, operator: OperatorProcess, setup: FaultSetup) -> None:
        action(run, operator, setup)
        run.await_step_event("stopping", setup, limit=LIMIT)
        operator.kill()

    return both


def terminate(run: FaultRun, operator: OperatorProcess, setup: FaultSetup) -> None:
    await_step(run, setup, 2)
    operator.process.send_signal(signal.SIGTERM)


def retry(run: FaultRun, _: OperatorProcess, setup: FaultSetup) -> None:
    wait_for(lambda: run.status(setup).get("phase") == "Failed", "the first series to fail", limit=LIMIT)
    setup.annotate(retry_requested_at="now")


@dataclass(frozen=True, slots=True)
class Case:
    """Where the operator is killed, and the expected end: `ran` attempts, the last reported as number `attempt`."""

    name: str
    fault: str = "none * before SIGKILL"
    behavior: str = "quick"
    action: Action = no_action
    phase: str | None = "Succeeded"
    ran: int = 1
    attempt: int = 1
    interrupted: int = 0
    released: int = 0
    paused: bool = False

    def run(self, new_fault_run: NewFaultRun) -> Outcome:
        """Let the fault kill one operator, start another, and return how the setup ended."""
        with new_fault_run(leader_election="false", shutdown_grace="100ms") as run:
            if self.paused:
                run.pause()
            setup = run.submit(self.behavior, seconds=TIME_TO_ACT if self.behavior == "lingering" else 0.1)
            faulty = run.operator(command=FAULTY_OPERATOR, environment={"FAULT": self.fault}).start(ready=False)
            self.action(run, faulty, setup)
            wait_for(lambda: not faulty.alive, f"the operator to be killed {self.name}", limit=LIMIT)
            killed = faulty.process.returncode == -signal.SIGKILL
            wait_for(lambda: not run.living(), "its processes to be gone", limit=2.0)
            if self.paused:
                run.resume()
            run.step_log.gate.touch()
            run.operator().start(ready=False)
            run.await_ends(limit=LIMIT)
            run.await_cleanup()
            return Outcome(killed, run.status(setup), check_invariants(run))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended."""

    killed: bool
    status: Body
    figures: Figures


CASES: tuple[Case, ...] = (
    Case("after the claim that starts", "claim initializing after SIGKILL"),
    Case("after .status reports Running", "replace_status Running after SIGKILL", attempt=2, interrupted=1),
    Case("after success is recorded", "finish Succeeded after SIGKILL"),
    Case("after a retry is recorded", "finish RetryScheduled after SIGKILL", behavior="transient", ran=3, attempt=3),
    Case("while a cancelled step ends", behavior="lingering", action=killed_while_it_stops(cancel), phase="Cancelled"),
    Case("after a cancel is recorded", "finish Cancelled after SIGKILL", "lingering", cancel, "Cancelled"),
    Case("while a deleted step ends", behavior="lingering", action=killed_while_it_stops(delete), phase=None),
    Case("before a claim is released", "release * before SIGKILL", "lingering", delete, None),
    Case("after the attempt is released", "finish Returned after SIGKILL", "gated", terminate, ran=2, released=1),
)
MORE_CASES: Final = (
    Case("in a step", behavior="gated", action=kill_in_step, ran=2, attempt=2, interrupted=1),
    Case("before the claim that queues", "claim setup_queued before SIGKILL", paused=True),
    Case("after the claim that queues", "claim setup_queued after SIGKILL", paused=True),
    Case("after .status reports Queued", "replace_status Queued after SIGKILL", paused=True),
    Case("before the claim that starts", "claim initializing before SIGKILL"),
    Case("before the engine runs", "run * before SIGKILL", attempt=2, interrupted=1),
    Case("after a step is marked", "mark * after SIGKILL", ran=2, attempt=2, interrupted=1),
    Case("after the last step", "run * after SIGKILL", ran=2, attempt=2, interrupted=1),
    Case("before success is recorded", "finish Succeeded before SIGKILL", ran=2, attempt=2, interrupted=1),
    Case("after .status reports success", "replace_status Succeeded after SIGKILL"),
    Case("after failure is recorded", "finish Failed after SIGKILL", behavior="failing", phase="Failed"),
    Case(
        "after .status reports a retry",
        "replace_status BackingOff after SIGKILL",
        behavior="transient",
        ran=3,
        attempt=3,
    ),
    Case("before a cancel is recorded", "finish Cancelled before SIGKILL", "lingering", cancel, "Cancelled"),
    Case("after a claim is released", "release * after SIGKILL", "lingering", delete, None),
    Case(
        "after .status reports a new series", "replace_status Queued after SIGKILL 2", "failing", retry, "Failed", ran=2
    ),
)
if IS_LONG:
    CASES = (*CASES, *MORE_CASES)


@pytest.fixture(scope="module")
def outcomes(
    new_fault_run: NewFaultRun,
    frozen_leaders: object,  # noqa: ARG001  # runs them in parallel
) -> Iterator[dict[str, Future[Outcome]]]:
    """Run all cases, a few in parallel, because they mostly wait."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        yield {case.name: pool.submit(case.run, new_fault_run) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_killed_operator_loses_nothing(case: Case, outcomes: dict[str, Future[Outcome]]) -> None:
    outcome = outcomes[case.name].result()
    assert outcome.killed, "the operator did not reach the fault"
    assert outcome.status.get("phase") == case.phase
    assert outcome.figures.ran == case.ran
    assert (outcome.figures.interrupted, outcome.figures.released) == (case.interrupted, case.released)
    if case.phase is not None:
        assert outcome.status["attempt"] == case.attempt


def test_figures(outcomes: dict[str, Future[Outcome]], report_figures: Callable[[object], None]) -> None:
    figures = [future.result().figures for future in outcomes.values()]
    report_figures(
        f"killed at {len(figures)} points between two writes; {sum(one.ran for one in figures)} attempts ran, "
        f"{sum(one.interrupted for one in figures)} interrupted, {sum(one.released for one in figures)} released"
    )
    assert len(figures) == len(CASES)
