"""The operator is killed at random moments and pods are evicted, while many setups run as Jobs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from kubernetes.client.exceptions import ApiException

from devcluster import Cluster
from tests.support.chaos.fault_run import IS_LONG, SEED, await_leadership
from tests.support.chaos.process_watcher import PodWatcher
from tests.support.node.job_fault_run import JobFaultRun, check_job_invariants, job_fault_run
from tests.support.operator_process import OperatorProcess, wait_for

SETUPS, KILLS, EVICTIONS = (50, 10, 25) if IS_LONG else (20, 5, 10)
MAX_LIFE: Final = 3.0
"""The most seconds between leadership and the kill."""
BACKLOG: Final = 4
"""Setups that wait beyond those that one operator has time for."""
TTL: Final = 10
LIMIT: Final = 600.0 if IS_LONG else 120.0


class Storm:
    """Kills the operator and evicts pods in an order that the seed decides."""

    def __init__(self, run: JobFaultRun, operator: OperatorProcess) -> None:
        self._run = run
        self._operator = operator
        self._rng = random.Random(SEED)  # noqa: S311  # the same order every time
        self.evicted: set[str] = set()

    def execute(self) -> None:
        """Kill the operator and evict pods while setups are submitted, so that each operator has work."""
        for kill in range(1, KILLS + 1):
            submitted = min(SETUPS * kill // KILLS + BACKLOG, SETUPS)
            self._run.submit_mixed(submitted - len(self._run.setups), self._rng)
            await_leadership(self._operator)
            until = time.monotonic() + self._rng.uniform(0.0, MAX_LIFE)
            while len(self.evicted) < EVICTIONS * kill // KILLS:
                self._evict_one()
            time.sleep(max(0.0, until - time.monotonic()))
            self._operator.kill()
            self._operator.start(ready=False)

    def _evict_one(self) -> None:
        """Evict a pod with a running container that was not evicted before."""
        pod = self._rng.choice(wait_for(self._running, "a pod that runs", limit=LIMIT))
        try:
            self._run.evict(pod)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            self.evicted.add(pod)

    def _running(self) -> list[str]:
        return [pod for pod in self._run.job_history.running_pods() if pod not in self.evicted]


def test_kills_and_evictions_at_random_moments(
    node_cluster: Cluster, tmp_path: Path, report_figures: Callable[[object], None]
) -> None:
    with (
        PodWatcher() as watcher,
        job_fault_run(node_cluster, tmp_path, watcher, concurrency="10", job_ttl=f"{TTL}s") as run,
    ):
        operator = run.operator().start(ready=False)
        storm = Storm(run, operator)
        storm.execute()
        seconds = run.await_ends(limit=LIMIT)
        run.await_cleanup()
        figures = check_job_invariants(run)
        done = f"{KILLS} SIGKILLs of the operator, {len(storm.evicted)} evictions, all ended {seconds:.0f} s later"
        report_figures(f"{done}; {figures}")
        assert figures.setups.released == 0
        wait_for(lambda: not unfinished(run), "nothing but finished Jobs to be left")
        wait_for(lambda: not left(run), "the finished Jobs and their pods to go", limit=TTL + 60)
        assert operator.terminate() == 0


def unfinished(run: JobFaultRun) -> list[str]:
    """Return the Jobs and pods of all setups that may still run."""
    return [name for project in run.setups for name in run.job_history.living(project)]


def left(run: JobFaultRun) -> list[str]:
    """Return the Jobs and pods that still exist, except tombstones, which are kept for a while."""
    job_history = run.job_history
    found = [
        entry for project in run.setups for entry in (*job_history.jobs_of(project), *job_history.pods_of(project))
    ]
    return [version.name for version in found if not version.gone]
