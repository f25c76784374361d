"""The operator is killed at random moments, again and again, while it sets up hundreds of projects."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.support.chaos.fault_run import FaultRun, NewFaultRun, Setup
from tests.support.chaos.invariants import check_invariants
from tests.support.chaos.options import IS_LONG, SEED
from tests.support.operator_process import OperatorProcess, wait_for

IN_STARTUP = 0.2
"""Share of the kills that hit an operator that has just been started; the others hit the one that leads,"""
STARTUP, WORK = 3.0, 2.5
"""at most so many seconds after its start, or after it was seen to lead."""
BACKLOG = 10
CANCELLED, DELETED = 0.15, 0.1


class Storm:
    """What is done to two operators and to their setups, in an order that the seed decides."""

    def __init__(self, fault_run: FaultRun, *, setups: int, kills: int) -> None:
        self._fault_run = fault_run
        self._random = random.Random(SEED)  # noqa: S311  # the same order every time
        self._operators = [fault_run.operator().start(ready=False) for _ in range(2)]
        self._setups, self._kills = setups, kills
        self.leaders = 0
        """How many of the kills hit the leader."""

    def blow(self) -> None:
        """Kill one of them `kills` times; meanwhile setups are submitted, some cancelled and some deleted."""
        killed: OperatorProcess | None = None
        for kill in range(self._kills):
            submitted = self._submit(ahead=kill / self._kills)
            if killed is not None and self._random.random() < IN_STARTUP:
                time.sleep(self._random.uniform(0.0, STARTUP))
            else:
                killed = self._await_leader()
                self._disturb(submitted, until=time.monotonic() + self._random.uniform(0.0, WORK))
                self.leaders += 1
            killed.kill()
            killed.start(ready=False)
        self._submit(ahead=1.0)

    def _await_leader(self) -> OperatorProcess:
        wait_for(lambda: any(operator.leads() for operator in self._operators), "an operator to lead", limit=60.0)
        return next(operator for operator in self._operators if operator.leads())

    def _submit(self, *, ahead: float) -> list[Setup]:
        """So many setups that there is always work, and that the last comes with the last kill."""
        count = min(round(self._setups * ahead) + BACKLOG, self._setups) - len(self._fault_run.setups)
        return self._fault_run.submit_mixed(count, self._random)

    def _disturb(self, submitted: list[Setup], *, until: float) -> None:
        for setup in submitted:
            wish = self._random.random()
            time.sleep(max(0.0, (until - time.monotonic()) * self._random.random()))
            if wish < CANCELLED:
                self._fault_run.cancel(setup)
            elif wish < CANCELLED + DELETED:
                self._fault_run.delete(setup)
        time.sleep(max(0.0, until - time.monotonic()))


def test_sigkills_at_random_moments(new_fault_run: NewFaultRun, tell: Callable[[object], None]) -> None:
    setups, kills = (300, 200) if IS_LONG else (30, 7)
    with new_fault_run(concurrency="4") as fault_run:
        storm = Storm(fault_run, setups=setups, kills=kills)
        storm.blow()
        seconds = fault_run.await_ends(limit=600 if IS_LONG else 90)
        fault_run.await_no_remains()
        figures = check_invariants(fault_run)
        tell(
            f"{kills} SIGKILLs of two operators, {storm.leaders} of the leader, all over {seconds:.0f} s later; "
            f"{figures}"
        )
        assert figures.given_back == 0
        assert figures.burned > 0
        wait_for(
            lambda: all(operator.is_ready() for operator in fault_run.operators),
            "both operators to be ready",
            limit=60.0,
        )
        assert [operator.terminate() for operator in fault_run.operators] == [0, 0]
        fault_run.await_no_remains()
