"""The API server, etcd and PostgreSQL are killed one by one and restarted after a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from devcluster import Cluster
from devcluster.cluster import PARTS
from tests.support.chaos.fault_run import IS_LONG, SEED, FaultRun, NewFaultRun, Restarter, await_leadership
from tests.support.chaos.invariants import check_invariants

LIMIT = 120.0
RUNNING, STOPPED, QUEUED = 2, 2, 6


class Outages:
    """One operator, restarted whenever it exits, with setups in every state when a part fails."""

    def __init__(self, run: FaultRun, control_plane: Cluster) -> None:
        self._run = run
        self._control_plane = control_plane
        self._rng = random.Random(SEED)  # noqa: S311  # the same order every time
        self.restarter = Restarter(run.operator().start())
        await_leadership(self.restarter.operator)

    def strike(self, part: str, seconds: float) -> float:
        """Stop the part while setups run, end, wait, are cancelled and deleted.

        Return the seconds from its restart until all setups have ended.
        """
        run = self._run
        run.step_log.gate.unlink(missing_ok=True)
        running = [run.submit("gated") for _ in range(RUNNING)]
        cancelled, deleted = (run.submit("lingering", seconds=0.5) for _ in range(STOPPED))
        run.await_step_event("end", *running, cancelled, deleted)
        queued = run.submit_mixed(QUEUED, self._rng)
        for setup in (cancelled, queued[-1]):
            run.cancel(setup)
        run.delete(deleted)
        time.sleep(self._rng.uniform(0.0, 0.5))
        self._control_plane.stop(part)
        self._await(time.monotonic() + seconds)
        self._control_plane.start(part)
        run.step_log.gate.touch()
        return run.await_ends(limit=LIMIT, meanwhile=self.restarter.check)

    def _await(self, end: float) -> None:
        while time.monotonic() < end:
            self.restarter.check()
            time.sleep(0.1)


def test_outages_lose_nothing_and_interrupt_no_attempt(
    new_fault_run: NewFaultRun, control_plane: Cluster, report_figures: Callable[[object], None]
) -> None:
    lengths = (1, 10, 60) if IS_LONG else (1, 6)
    with new_fault_run() as run:
        outages = Outages(run, control_plane)
        for part in PARTS:
            after = {seconds: outages.strike(part, seconds) for seconds in lengths}
            report_figures(
                ", ".join(f"{part} down for {seconds} s: all ended {after[seconds]:.1f} s later" for seconds in lengths)
            )
        run.await_cleanup()
        figures, restarts = check_invariants(run), outages.restarter.restarts
        report_figures(f"the operator ended {restarts} times; {figures}")
        assert figures.interrupted == 0
        assert figures.released == 0 or restarts > 0
