"""Setups as Jobs on a real node: cancelled, deleted, suspended, retried, and adopted from operators that ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from devcluster import Cluster
from tests.support.chaos import faulty_operator
from tests.support.chaos.arena import Setup
from tests.support.node.job_arena import JobArena, job_arena
from tests.support.node.job_checks import check_jobs
from tests.support.node.pod_watcher import PodWatcher
from tests.support.operator_process import wait_for

FAULTY: Final = (sys.executable, str(Path(faulty_operator.__file__)))
TTL: Final = 8
CANCEL_LIMIT: Final = 15.0
SETUPS: Final = {
    "cancelled": "fortress",
    "deleted": "gated",
    "suspended": "gated",
    "robbed": "gated",
    "retried": "transient",
}
"""The mood of each setup, by the test that it is for."""


@pytest.fixture(scope="module")
def watcher() -> Iterator[PodWatcher]:
    with PodWatcher() as watcher:
        yield watcher


@pytest.fixture(scope="module")
def arena(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, watcher: PodWatcher) -> Iterator[JobArena]:
    """One operator for all tests that do not stop it."""
    folder = tmp_path_factory.mktemp("arena")
    with job_arena(node_cluster, folder, watcher, concurrency="10", job_ttl=f"{TTL}s") as arena:
        arena.operator().start()
        yield arena


@pytest.fixture(scope="module")
def setups(arena: JobArena) -> dict[str, Setup]:
    """All at once; each test has its own, by its name in SETUPS."""
    setups = {name: arena.submit(mood) for name, mood in SETUPS.items()}
    return {**setups, "single": arena.submit("calm", recipe="single")}


def test_a_setup_of_one_step_costs_two_status_writes(arena: JobArena, setups: dict[str, Setup]) -> None:
    setup = setups["single"]
    assert arena.reached(setup, "Succeeded", "Failed")["phase"] == "Succeeded"
    arena.history.caught_up()
    phases = [version.status.get("phase") for version in arena.history.versions[setup.project]]
    assert phases == [None, "Running", "Succeeded"]


def test_a_retryable_failure_is_retried_by_another_job(arena: JobArena, setups: dict[str, Setup]) -> None:
    setup = setups["retried"]
    status = arena.reached(setup, "Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
    assert [(one["outcome"], one["reason"]) for one in status["attempts"]] == [
        ("Failed", "StepTransient"),
        ("Succeeded", "SetupSucceeded"),
    ]
    first, second = arena.ledger.jobs_of(setup.project)
    assert (first.attempt, second.attempt) == (1, 2)
    assert arena.first_at(setup, "BackingOff") < arena.ledger.made_at(second.name)


def test_cancelled_is_reported_once_nothing_of_the_attempt_runs(arena: JobArena, setups: dict[str, Setup]) -> None:
    setup = setups["cancelled"]
    arena.works(setup)
    arena.cancel(setup)
    arena.reached(setup, "Cancelled", limit=CANCEL_LIMIT)
    assert not arena.living_of(setup)
    arena.ledger.caught_up()
    assert arena.ledger.living(setup.project, at=arena.first_at(setup, "Cancelled")) == []
    assert arena.record.rows()[setup.project]["status"] == "failed"


def test_deleting_a_setup_deletes_its_job_and_frees_the_project(arena: JobArena, setups: dict[str, Setup]) -> None:
    setup = setups["deleted"]
    arena.works(setup)
    arena.delete(setup)
    wait_for(lambda: arena.record.rows()[setup.project]["owner_uid"] is None, "the project to be free")
    assert not arena.living_of(setup)
    arena.ledger.caught_up()
    assert arena.ledger.living(setup.project) == []


def test_a_suspended_attempt_does_not_count_and_resumes_with_its_number(
    arena: JobArena, setups: dict[str, Setup]
) -> None:
    setup = setups["suspended"]
    arena.works(setup)
    arena.stage.api.patch(setup.project, {"spec": {"suspend": True}})
    status = arena.reached(setup, "Suspended")
    assert status["attempt"] == 0
    assert not arena.living_of(setup)
    arena.ledger.caught_up()
    assert arena.ledger.living(setup.project, at=arena.first_at(setup, "Suspended")) == []

    arena.desk.open(setup.project)
    arena.stage.api.patch(setup.project, {"spec": {"suspend": False}})
    status = arena.reached(setup, "Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 1)
    names = [job.name for job in arena.ledger.jobs_of(setup.project)]
    assert len(set(names)) == 2, "each start has its own Job name"


def test_a_deleted_job_is_interrupted_and_retried(arena: JobArena, setups: dict[str, Setup]) -> None:
    setup = setups["robbed"]
    arena.works(setup)
    job = arena.ledger.jobs_of(setup.project)[-1]
    arena.desk.open(setup.project)
    arena.stage.api.kubectl("delete", f"job/{job.name}", "--wait=false")
    status = arena.reached(setup, "Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
    assert status["attempts"][0]["reason"] == "Interrupted"
    assert job.name in status["attempts"][0]["message"]


def test_a_finished_job_is_deleted_after_its_ttl(arena: JobArena, setups: dict[str, Setup]) -> None:
    project = setups["single"].project
    wait_for(
        lambda: [job.gone for job in arena.ledger.jobs_of(project)] == [True],
        "the Job of a finished setup to go",
        limit=TTL + 30,
    )
    wait_for(lambda: all(pod.gone for pod in arena.ledger.pods_of(project)), "its pod to go")
    assert arena.stage.status(project)["phase"] == "Succeeded"


def test_the_history_of_all_setups_is_sound(arena: JobArena, setups: dict[str, Setup]) -> None:
    assert arena.setups.keys() == {setup.project for setup in setups.values()}
    arena.await_ends(limit=30)
    arena.await_no_remains()
    figures = check_jobs(arena).of_setups
    assert (figures.burned, figures.given_back) == (1, 1)


def test_jobs_continue_without_their_operator_and_the_next_adopts_them(
    node_cluster: Cluster, tmp_path: Path, watcher: PodWatcher
) -> None:
    with job_arena(node_cluster, tmp_path, watcher) as arena:
        operator = arena.operator().start()
        ended_meanwhile, others = arena.submit("gated"), [arena.submit("gated"), arena.submit("fortress")]
        arena.works(ended_meanwhile, *others)

        operator.kill()
        arena.desk.open(ended_meanwhile.project)
        arena.await_over(ended_meanwhile)
        operator.start()
        assert arena.reached(ended_meanwhile, "Succeeded", "Failed")["phase"] == "Succeeded"

        pods = [arena.pod(setup).name for setup in others]
        assert operator.terminate() == 0
        assert [arena.pod(setup).name for setup in others] == pods
        operator.start()
        arena.desk.open(*(setup.project for setup in others))
        arena.await_ends(limit=60)

        for setup in (ended_meanwhile, *others):
            status = arena.status(setup)
            assert (status["phase"], status["attempt"]) == ("Succeeded", 1)
            assert len(arena.ledger.pods_of(setup.project)) == 1
        figures = check_jobs(arena).of_setups
        assert (figures.run, figures.burned, figures.given_back) == (3, 0, 0)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_an_attempt_that_was_reported_but_not_begun_is_interrupted(
    node_cluster: Cluster, tmp_path: Path, watcher: PodWatcher, sent: signal.Signals
) -> None:
    with job_arena(node_cluster, tmp_path, watcher, leader_election="false") as arena:
        setup = arena.submit("calm")
        fault = {"FAULT": f"replace_status Running after {sent.name}"}
        first = arena.operator(command=FAULTY, environment=fault).start(ready=False)
        arena.reached(setup, "Running")
        if sent is signal.SIGKILL:
            wait_for(lambda: not first.alive, "the operator to be killed")
        arena.operator().start()
        status = arena.reached(setup, "Succeeded", "Failed")

        if sent is signal.SIGSTOP:
            first.thaw()
            wait_for(lambda: not first.alive, "the operator that wakes up to end")
            assert "another operator has claimed project" in first.log_tail()
            assert arena.stage.status(setup.project) == status
        arena.await_ends(limit=30)
        figures = check_jobs(arena).of_setups
        assert (figures.run, figures.burned, figures.given_back) == (1, 1, 0)
        assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
        assert status["attempts"][0]["reason"] == "Interrupted"
        assert [job.attempt for job in arena.ledger.jobs_of(setup.project)] == [2]
        assert [stone.attempt for stone in arena.ledger.tombstones_of(setup.project)] == [1]
