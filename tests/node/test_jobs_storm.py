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
from tests.support.chaos.fault_run import await_lead
from tests.support.chaos.options import IS_LONG, SEED
from tests.support.node.job_checks import check_jobs
from tests.support.node.job_fault_run import JobFaultRun, job_fault_run
from tests.support.node.pod_watcher import PodWatcher
from tests.support.operator_process import OperatorProcess, wait_for

SETUPS, KILLS, EVICTIONS = (50, 10, 25) if IS_LONG else (20, 5, 10)
LIFE: Final = 3.0
"""The most seconds that the operator lives once it leads."""
BACKLOG: Final = 4
"""Setups that each life finds beyond those that it has time for."""
TTL: Final = 10
LIMIT: Final = 600.0 if IS_LONG else 120.0


class Storm:
    """Kills and evictions, in an order that the seed decides."""

    def __init__(self, fault_run: JobFaultRun, operator: OperatorProcess) -> None:
        self._fault_run = fault_run
        self._operator = operator
        self._random = random.Random(SEED)  # noqa: S311  # the same order every time
        self.evicted: set[str] = set()

    def blow(self) -> None:
        """Kill the operator and evict pods; setups are submitted meanwhile, so that each life has work."""
        for kill in range(1, KILLS + 1):
            there = min(SETUPS * kill // KILLS + BACKLOG, SETUPS)
            self._fault_run.submit_mixed(there - len(self._fault_run.setups), self._random)
            await_lead(self._operator)
            until = time.monotonic() + self._random.uniform(0.0, LIFE)
            while len(self.evicted) < EVICTIONS * kill // KILLS:
                self._evict_one()
            time.sleep(max(0.0, until - time.monotonic()))
            self._operator.kill()
            self._operator.start(ready=False)

    def _evict_one(self) -> None:
        """A pod of which a container runs, and that was not evicted before."""
        wait_for(self._running, "a pod that runs", limit=LIMIT)
        pod = self._random.choice(self._running())
        try:
            self._fault_run.evict(pod)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            self.evicted.add(pod)

    def _running(self) -> list[str]:
        return [pod for pod in self._fault_run.watch_history.running_pods() if pod not in self.evicted]


def test_kills_and_evictions_at_random_moments(
    node_cluster: Cluster, tmp_path: Path, tell: Callable[[object], None]
) -> None:
    with (
        PodWatcher() as watcher,
        job_fault_run(node_cluster, tmp_path, watcher, concurrency="10", job_ttl=f"{TTL}s") as fault_run,
    ):
        operator = fault_run.operator().start(ready=False)
        storm = Storm(fault_run, operator)
        storm.blow()
        seconds = fault_run.await_ends(limit=LIMIT)
        fault_run.await_no_remains()
        figures = check_jobs(fault_run)
        done = f"{KILLS} SIGKILLs of the operator, {len(storm.evicted)} evictions, all over {seconds:.0f} s later"
        tell(f"{done}; {figures}")
        assert figures.of_setups.given_back == 0
        wait_for(lambda: not unfinished(fault_run), "nothing but finished Jobs to be left")
        wait_for(lambda: not left(fault_run), "the finished Jobs and their pods to go", limit=TTL + 60)
        assert operator.terminate() == 0


def unfinished(fault_run: JobFaultRun) -> list[str]:
    """The Jobs and pods of all setups that may still run."""
    return [name for project in fault_run.setups for name in fault_run.watch_history.living(project)]


def left(fault_run: JobFaultRun) -> list[str]:
    """The Jobs and pods that still exist, except tombstones, which stay a while."""
    watch_history = fault_run.watch_history
    found = [
        entry
        for project in fault_run.setups
        for entry in (*watch_history.jobs_of(project), *watch_history.pods_of(project))
    ]
    return [entry.name for entry in found if not entry.gone]
