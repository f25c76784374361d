"""Pods that the cluster takes away: their Job replaces them, and the attempt continues with its number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pytest

from devcluster import Cluster
from devcluster.node.kubelet import NODE
from tests.support.chaos.arena import Setup
from tests.support.node.job_arena import JobArena, job_arena
from tests.support.node.job_checks import check_jobs
from tests.support.node.pod_watcher import PodWatcher
from tests.support.operator_process import wait_for

LOST: Final = "test.codemyspec.com/lost"
"""A taint that sends all pods away. Kubernetes never gives up the only node of a cluster by itself."""


@pytest.fixture(scope="module")
def arena(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobArena]:
    folder = tmp_path_factory.mktemp("arena")
    with (
        PodWatcher() as watcher,
        job_arena(node_cluster, folder, watcher, concurrency="10") as arena,
    ):
        arena.operator().start()
        yield arena


def working(arena: JobArena, *moods: str) -> list[Setup]:
    """Setups whose second step has begun."""
    setups = [arena.submit(mood) for mood in moods]
    arena.works(*setups)
    return setups


def evict_all(arena: JobArena, setups: list[Setup]) -> list[str]:
    """Evict their pods, and return the names."""
    pods = [arena.pod(setup).name for setup in setups]
    for pod in pods:
        arena.evict(pod)
    return pods


def await_gone(arena: JobArena, pods: list[str]) -> None:
    wait_for(lambda: all(arena.ledger.pods[pod][-1].gone for pod in pods), "the pods to be gone", limit=60)


def succeed_in_one_attempt(arena: JobArena, setups: list[Setup], *, pods: int) -> None:
    """All of them, each with so many pods."""
    for setup in setups:
        status = arena.reached(setup, "Succeeded", "Failed", limit=120)
        assert (status["phase"], status["attempt"]) == ("Succeeded", 1), status
        assert "failure" not in status
        assert len(arena.ledger.jobs_of(setup.project)) == 1
        assert len(arena.ledger.pods_of(setup.project)) == pods


def test_evicted_pods_are_replaced(arena: JobArena) -> None:
    setups = working(arena, "gated", "fortress", "gated")
    evict_all(arena, setups)
    arena.works(*setups, times=2)
    for setup in setups:
        status = arena.stage.status(setup.project)
        assert (status["phase"], status["attempt"]) == ("Running", 1), status
        arena.desk.open(setup.project)
    succeed_in_one_attempt(arena, setups, pods=2)


def test_a_drained_node(arena: JobArena) -> None:
    setups = working(arena, "gated", "gated")
    arena.stage.api.kubectl("cordon", NODE)
    try:
        await_gone(arena, evict_all(arena, setups))
        for setup in setups:
            wait_for(partial(arena.ledger.living_pods, setup.project), "another pod")
            arena.desk.open(setup.project)
            status = arena.stage.status(setup.project)
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        arena.stage.api.kubectl("uncordon", NODE)
    succeed_in_one_attempt(arena, setups, pods=2)


def test_a_kubelet_that_is_down_for_a_while(arena: JobArena, node_cluster: Cluster) -> None:
    setups = working(arena, "gated", "gated")
    node_cluster.stop("kubelet")
    try:
        new = arena.submit("calm")
        arena.desk.open(*(setup.project for setup in setups))
        for setup in setups:
            arena.desk.hears(setup.project, "worked")
        wait_for(lambda: arena.ledger.living_pods(new.project), "a pod that is not started")
        for setup in setups:
            status = arena.stage.status(setup.project)
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        node_cluster.start("kubelet")
    succeed_in_one_attempt(arena, [*setups, new], pods=1)


def test_a_node_that_is_given_up_and_comes_back(arena: JobArena, node_cluster: Cluster) -> None:
    setups = working(arena, "gated", "fortress")
    pods = [arena.pod(setup).name for setup in setups]
    node_cluster.stop("kubelet")
    try:
        arena.stage.api.kubectl("taint", "node", NODE, f"{LOST}:NoExecute")
        wait_for(
            lambda: all("deletionTimestamp" in arena.ledger.pods[pod][-1].body["metadata"] for pod in pods),
            "the pods of a node that does not answer to be given up",
        )
        arena.stage.api.kubectl("taint", "node", NODE, f"{LOST}-")
        for setup, pod in zip(setups, pods, strict=True):
            assert arena.living_of(setup), "its processes still run"
            assert arena.ledger.living_pods(setup.project) == [pod]
            status = arena.stage.status(setup.project)
            assert (status["phase"], status["attempt"]) == ("Running", 1), status
    finally:
        node_cluster.start("kubelet")
    arena.works(*setups, times=2)
    arena.desk.open(*(setup.project for setup in setups))
    succeed_in_one_attempt(arena, setups, pods=2)


def test_never_do_two_pods_of_a_project_run_at_once(arena: JobArena, tell: Callable[[object], None]) -> None:
    arena.await_ends(limit=60)
    arena.await_no_remains()
    figures = check_jobs(arena)
    assert (figures.of_setups.burned, figures.of_setups.given_back) == (0, 0)
    assert figures.taken_away == figures.pods - figures.jobs
    tell(figures)
