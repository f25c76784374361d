"""Pods that the cluster takes away: their Job replaces them, and the attempt continues with its number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pytest

from devcluster import Cluster
from devcluster.node.kubelet import NODE
from tests.support.chaos.fault_run import Setup
from tests.support.node.job_checks import check_jobs
from tests.support.node.job_fault_run import JobFaultRun, job_fault_run
from tests.support.node.pod_watcher import PodWatcher
from tests.support.operator_process import wait_for

LOST: Final = "test.codemyspec.com/lost"
"""A taint that sends all pods away. Kubernetes never gives up the only node of a cluster by itself."""


@pytest.fixture(scope="module")
def fault_run(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobFaultRun]:
    folder = tmp_path_factory.mktemp("fault_run")
    with (
        PodWatcher() as watcher,
        job_fault_run(node_cluster, folder, watcher, concurrency="10") as fault_run,
    ):
        fault_run.operator().start()
        yield fault_run


def working(fault_run: JobFaultRun, *moods: str) -> list[Setup]:
    """Setups whose second step has begun."""
    setups = [fault_run.submit(mood) for mood in moods]
    fault_run.works(*setups)
    return setups


def evict_all(fault_run: JobFaultRun, setups: list[Setup]) -> list[str]:
    """Evict their pods, and return the names."""
    pods = [fault_run.pod(setup).name for setup in setups]
    for pod in pods:
        fault_run.evict(pod)
    return pods


def await_gone(fault_run: JobFaultRun, pods: list[str]) -> None:
    wait_for(lambda: all(fault_run.watch_history.pods[pod][-1].gone for pod in pods), "the pods to be gone", limit=60)


def succeed_in_one_attempt(fault_run: JobFaultRun, setups: list[Setup], *, pods: int) -> None:
    """All of them, each with so many pods."""
    for setup in setups:
        status = fault_run.reached(setup, "Succeeded", "Failed", limit=120)
        assert (status["phase"], status["attempt"]) == ("Succeeded", 1), status
        assert "failure" not in status
        assert len(fault_run.watch_history.jobs_of(setup.project)) == 1
        assert len(fault_run.watch_history.pods_of(setup.project)) == pods


def test_evicted_pods_are_replaced(fault_run: JobFaultRun) -> None:
    setups = working(fault_run, "gated", "fortress", "gated")
    evict_all(fault_run, setups)
    fault_run.works(*setups, times=2)
    for setup in setups:
        status = fault_run.sandbox.status(setup.project)
        assert (status["phase"], status["attempt"]) == ("Running", 1), status
        fault_run.step_server.open(setup.project)
    succeed_in_one_attempt(fault_run, setups, pods=2)


def test_a_drained_node(fault_run: JobFaultRun) -> None:
    setups = working(fault_run, "gated", "gated")
    fault_run.sandbox.api.kubectl("cordon", NODE)
    try:
        await_gone(fault_run, evict_all(fault_run, setups))
        for setup in setups:
            wait_for(partial(fault_run.watch_history.living_pods, setup.project), "another pod")
            fault_run.step_server.open(setup.project)
            status = fault_run.sandbox.status(setup.project)
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        fault_run.sandbox.api.kubectl("uncordon", NODE)
    succeed_in_one_attempt(fault_run, setups, pods=2)


def test_a_kubelet_that_is_down_for_a_while(fault_run: JobFaultRun, node_cluster: Cluster) -> None:
    setups = working(fault_run, "gated", "gated")
    node_cluster.stop("kubelet")
    try:
        new = fault_run.submit("calm")
        fault_run.step_server.open(*(setup.project for setup in setups))
        for setup in setups:
            fault_run.step_server.hears(setup.project, "worked")
        wait_for(lambda: fault_run.watch_history.living_pods(new.project), "a pod that is not started")
        for setup in setups:
            status = fault_run.sandbox.status(setup.project)
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        node_cluster.start("kubelet")
    succeed_in_one_attempt(fault_run, [*setups, new], pods=1)


def test_a_node_that_is_given_up_and_comes_back(fault_run: JobFaultRun, node_cluster: Cluster) -> None:
    setups = working(fault_run, "gated", "fortress")
    pods = [fault_run.pod(setup).name for setup in setups]
    node_cluster.stop("kubelet")
    try:
        fault_run.sandbox.api.kubectl("taint", "node", NODE, f"{LOST}:NoExecute")
        wait_for(
            lambda: all("deletionTimestamp" in fault_run.watch_history.pods[pod][-1].body["metadata"] for pod in pods),
            "the pods of a node that does not answer to be given up",
        )
        fault_run.sandbox.api.kubectl("taint", "node", NODE, f"{LOST}-")
        for setup, pod in zip(setups, pods, strict=True):
            assert fault_run.living_of(setup), "its processes still run"
            assert fault_run.watch_history.living_pods(setup.project) == [pod]
            status = fault_run.sandbox.status(setup.project)
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        node_cluster.start("kubelet")
    fault_run.works(*setups, times=2)
    fault_run.step_server.open(*(setup.project for setup in setups))
    succeed_in_one_attempt(fault_run, setups, pods=2)


def test_never_do_two_pods_of_a_project_run_at_once(fault_run: JobFaultRun, tell: Callable[[object], None]) -> None:
    fault_run.await_ends(limit=60)
    fault_run.await_no_remains()
    figures = check_jobs(fault_run)
    assert (figures.of_setups.burned, figures.of_setups.given_back) == (0, 0)
    assert figures.taken_away == figures.pods - figures.jobs
    tell(figures)
