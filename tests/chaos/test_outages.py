"""The API server, etcd and PostgreSQL are killed, each for a while, and started again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from devcluster import Cluster
from devcluster.cluster import PARTS
from tests.support.chaos.fault_run import FaultRun, NewFaultRun, Restarter, await_lead
from tests.support.chaos.invariants import check_invariants
from tests.support.chaos.options import IS_LONG, SEED
from tests.support.operator_process import wait_for

LIMIT = 120.0
RUNNING, DOOMED, QUEUED = 2, 2, 6


class Outages:
    """One operator, started again whenever it ends, and setups in every state when a part goes away."""

    def __init__(self, fault_run: FaultRun, control_plane: Cluster) -> None:
        self._fault_run = fault_run
        self._control_plane = control_plane
        self._random = random.Random(SEED)  # noqa: S311  # the same order every time
        self.restarter = Restarter(fault_run.operator().start())
        await_lead(self.restarter.operator)

    def strike(self, part: str, seconds: float) -> float:
        """Take the part away for so long while setups run, end, wait, are cancelled and deleted; until all are over.

        The seconds that the last of them needs after the part is back.
        """
        fault_run = self._fault_run
        fault_run.step_log.gate.unlink(missing_ok=True)
        running = [fault_run.submit("gated") for _ in range(RUNNING)]
        cancelled, deleted = (fault_run.submit("stubborn", seconds=0.5) for _ in range(DOOMED))
        ready = (*running, cancelled, deleted)
        wait_for(lambda: all(fault_run.step_log.tells(setup.project, "end") for setup in ready), "setups to run")
        queued = fault_run.submit_mixed(QUEUED, self._random)
        for setup in (cancelled, queued[-1]):
            fault_run.cancel(setup)
        fault_run.delete(deleted)
        time.sleep(self._random.uniform(0.0, 0.5))
        self._control_plane.stop(part)
        self._await(time.monotonic() + seconds)
        self._control_plane.start(part)
        fault_run.step_log.gate.touch()
        return fault_run.await_ends(limit=LIMIT, meanwhile=self.restarter.look)

    def _await(self, end: float) -> None:
        while time.monotonic() < end:
            self.restarter.look()
            time.sleep(0.1)


def test_outages_lose_nothing_and_burn_no_attempt(
    new_fault_run: NewFaultRun, control_plane: Cluster, tell: Callable[[object], None]
) -> None:
    lengths = (1, 10, 60) if IS_LONG else (1, 6)
    with new_fault_run() as fault_run:
        outages = Outages(fault_run, control_plane)
        for part in PARTS:
            after = {seconds: outages.strike(part, seconds) for seconds in lengths}
            tell(
                ", ".join(f"{part} away for {seconds} s: all over {after[seconds]:.1f} s later" for seconds in lengths)
            )
        fault_run.await_no_remains()
        figures, restarts = check_invariants(fault_run), outages.restarter.restarts
        tell(f"the operator ended {restarts} times; {figures}")
        assert figures.burned == 0
        assert figures.given_back == 0 or restarts > 0
