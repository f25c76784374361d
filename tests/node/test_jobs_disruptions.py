"""The cluster disrupts pods: their Job replaces them, and the attempt continues with its number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pytest

from devcluster import Cluster
from devcluster.node.kubelet import NODE
from tests.support.chaos.fault_run import FaultSetup
from tests.support.chaos.process_watcher import PodWatcher
from tests.support.node.job_fault_run import JobFaultRun, check_job_invariants, job_fault_run
from tests.support.operator_process import wait_for

LOST: Final = "test.codemyspec.com/lost"
"""A taint that evicts all pods. Kubernetes never declares the only node of a cluster lost by itself."""


@pytest.fixture(scope="module")
def run(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobFaultRun]:
    folder = tmp_path_factory.mktemp("run")
    with (
        PodWatcher() as watcher,
        job_fault_run(node_cluster, folder, watcher, concurrency="10") as run,
    ):
        run.operator().start()
        yield run


def working(run: JobFaultRun, *behaviors: str) -> list[FaultSetup]:
    """Submit setups and return once their second step has begun."""
    setups = [run.submit(behavior) for behavior in behaviors]
    run.await_work(*setups)
    return setups


def evict_all(run: JobFaultRun, setups: list[FaultSetup]) -> list[str]:
    """Evict their pods, and return the names."""
    pods = [run.pod(setup).name for setup in setups]
    for pod in pods:
        run.evict(pod)
    return pods


def await_gone(run: JobFaultRun, pods: list[str]) -> None:
    wait_for(lambda: all(run.job_history.pods[pod][-1].gone for pod in pods), "the pods to be gone", limit=60)


def succeed_in_one_attempt(run: JobFaultRun, setups: list[FaultSetup], *, pods: int) -> None:
    """Assert that all of them succeed, each with so many pods."""
    for setup in setups:
        status = setup.reached("Succeeded", "Failed", limit=120)
        assert (status["phase"], status["attempt"]) == ("Succeeded", 1), status
        assert "failure" not in status
        assert len(run.job_history.jobs_of(setup.name)) == 1
        assert len(run.job_history.pods_of(setup.name)) == pods


def test_evicted_pods_are_replaced(run: JobFaultRun) -> None:
    setups = working(run, "gated", "sigterm-proof", "gated")
    evict_all(run, setups)
    run.await_work(*setups, times=2)
    for setup in setups:
        status = setup.status
        assert (status["phase"], status["attempt"]) == ("Running", 1), status
        run.step_server.open(setup.name)
    succeed_in_one_attempt(run, setups, pods=2)


def test_a_drained_node(run: JobFaultRun) -> None:
    setups = working(run, "gated", "gated")
    run.sandbox.api.kubectl("cordon", NODE)
    try:
        await_gone(run, evict_all(run, setups))
        for setup in setups:
            wait_for(partial(run.job_history.living_pods, setup.name), "another pod")
            run.step_server.open(setup.name)
            status = setup.status
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        run.sandbox.api.kubectl("uncordon", NODE)
    succeed_in_one_attempt(run, setups, pods=2)


def test_a_kubelet_that_is_down_for_a_while(run: JobFaultRun, node_cluster: Cluster) -> None:
    setups = working(run, "gated", "gated")
    node_cluster.stop("kubelet")
    try:
        new = run.submit("quick")
        run.step_server.open(*(setup.name for setup in setups))
        for setup in setups:
            run.step_server.await_report(setup.name, "worked")
        wait_for(lambda: run.job_history.living_pods(new.name), "a pod that is not started")
        for setup in setups:
            status = setup.status
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        node_cluster.start("kubelet")
    succeed_in_one_attempt(run, [*setups, new], pods=1)


def test_a_lost_node_that_returns(run: JobFaultRun, node_cluster: Cluster) -> None:
    setups = working(run, "gated", "sigterm-proof")
    pods = [run.pod(setup).name for setup in setups]
    node_cluster.stop("kubelet")
    try:
        run.sandbox.api.kubectl("taint", "node", NODE, f"{LOST}:NoExecute")
        wait_for(
            lambda: all("deletionTimestamp" in run.job_history.pods[pod][-1].body["metadata"] for pod in pods),
            "the pods of the unreachable node to be deleted",
        )
        run.sandbox.api.kubectl("taint", "node", NODE, f"{LOST}-")
        for setup, pod in zip(setups, pods, strict=True):
            assert run.processes_of(setup), "its processes have ended"
            assert run.job_history.living_pods(setup.name) == [pod]
            status = setup.status
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        node_cluster.start("kubelet")
    run.await_work(*setups, times=2)
    run.step_server.open(*(setup.name for setup in setups))
    succeed_in_one_attempt(run, setups, pods=2)


def test_two_pods_of_a_project_never_run_at_once(run: JobFaultRun, report_figures: Callable[[object], None]) -> None:
    run.await_ends(limit=60)
    run.await_cleanup()
    figures = check_job_invariants(run)
    assert (figures.setups.interrupted, figures.setups.released) == (0, 0)
    assert figures.disrupted == figures.pods - figures.jobs
    report_figures(figures)
