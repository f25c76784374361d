"""Two operators are killed at random moments while they set up many projects."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.support.chaos.fault_run import IS_LONG, SEED, FaultRun, FaultSetup, NewFaultRun
from tests.support.chaos.invariants import check_invariants
from tests.support.operator_process import OperatorProcess, wait_for

IN_STARTUP = 0.2
"""Share of the kills that hit an operator during its startup; the others hit the leader."""
MAX_STARTUP, MAX_WORK = 3.0, 2.5
"""The most seconds between its start, or its leadership, and the kill."""
BACKLOG = 10
CANCELLED, DELETED = 0.15, 0.1


class Storm:
    """Kills two operators and submits, cancels and deletes setups in an order that the seed decides."""

    def __init__(self, run: FaultRun, *, setups: int, kills: int) -> None:
        self._run = run
        self._rng = random.Random(SEED)  # noqa: S311  # the same order every time
        self._operators = [run.operator().start(ready=False) for _ in range(2)]
        self._setups, self._kills = setups, kills
        self.leaders = 0
        """The number of kills that hit the leader."""

    def execute(self) -> None:
        """Kill operators `kills` times while setups are submitted, cancelled and deleted."""
        killed: OperatorProcess | None = None
        for kill in range(self._kills):
            submitted = self._submit(ahead=kill / self._kills)
            if killed is not None and self._rng.random() < IN_STARTUP:
                time.sleep(self._rng.uniform(0.0, MAX_STARTUP))
            else:
                killed = self._await_leader()
                self._cancel_and_delete(submitted, until=time.monotonic() + self._rng.uniform(0.0, MAX_WORK))
                self.leaders += 1
            killed.kill()
            killed.start(ready=False)
        self._submit(ahead=1.0)

    def _await_leader(self) -> OperatorProcess:
        wait_for(lambda: any(operator.leads() for operator in self._operators), "an operator to lead", limit=60.0)
        return next(operator for operator in self._operators if operator.leads())

    def _submit(self, *, ahead: float) -> list[FaultSetup]:
        """Submit enough setups for constant work; the last one comes with the last kill."""
        count = min(round(self._setups * ahead) + BACKLOG, self._setups) - len(self._run.setups)
        return self._run.submit_mixed(count, self._rng)

    def _cancel_and_delete(self, submitted: list[FaultSetup], *, until: float) -> None:
        for setup in submitted:
            draw = self._rng.random()
            time.sleep(max(0.0, (until - time.monotonic()) * self._rng.random()))
            if draw < CANCELLED:
                self._run.cancel(setup)
            elif draw < CANCELLED + DELETED:
                self._run.delete(setup)
        time.sleep(max(0.0, until - time.monotonic()))


def test_sigkills_at_random_moments(new_fault_run: NewFaultRun, report_figures: Callable[[object], None]) -> None:
    setups, kills = (300, 200) if IS_LONG else (30, 7)
    with new_fault_run(concurrency="4") as run:
        storm = Storm(run, setups=setups, kills=kills)
        storm.execute()
        seconds = run.await_ends(limit=600 if IS_LONG else 90)
        run.await_cleanup()
        figures = check_invariants(run)
        report_figures(
            f"{kills} SIGKILLs of two operators, {storm.leaders} of the leader, all ended {seconds:.0f} s later; "
            f"{figures}"
        )
        assert figures.released == 0
        assert figures.interrupted > 0
        wait_for(
            lambda: all(operator.is_ready() for operator in run.operators), "both operators to be ready", limit=60.0
        )
        assert [operator.terminate() for operator in run.operators] == [0, 0]
        run.await_cleanup()
