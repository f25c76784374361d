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
from tests.support.chaos.fault_run import Setup
from tests.support.node.job_checks import check_jobs
from tests.support.node.job_fault_run import JobFaultRun, job_fault_run
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
def fault_run(
    node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, watcher: PodWatcher
) -> Iterator[JobFaultRun]:
    """One operator for all tests that do not stop it."""
    folder = tmp_path_factory.mktemp("fault_run")
    with job_fault_run(node_cluster, folder, watcher, concurrency="10", job_ttl=f"{TTL}s") as fault_run:
        fault_run.operator().start()
        yield fault_run


@pytest.fixture(scope="module")
def setups(fault_run: JobFaultRun) -> dict[str, Setup]:
    """All at once; each test has its own, by its name in SETUPS."""
    setups = {name: fault_run.submit(mood) for name, mood in SETUPS.items()}
    return {**setups, "single": fault_run.submit("calm", recipe="single")}


def test_a_setup_of_one_step_costs_two_status_writes(fault_run: JobFaultRun, setups: dict[str, Setup]) -> None:
    setup = setups["single"]
    assert fault_run.reached(setup, "Succeeded", "Failed")["phase"] == "Succeeded"
    fault_run.history.caught_up()
    phases = [version.status.get("phase") for version in fault_run.history.versions[setup.project]]
    assert phases == [None, "Running", "Succeeded"]


def test_a_retryable_failure_is_retried_by_another_job(fault_run: JobFaultRun, setups: dict[str, Setup]) -> None:
    setup = setups["retried"]
    status = fault_run.reached(setup, "Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
    assert [(one["outcome"], one["reason"]) for one in status["attempts"]] == [
        ("Failed", "StepTransient"),
        ("Succeeded", "SetupSucceeded"),
    ]
    first, second = fault_run.watch_history.jobs_of(setup.project)
    assert (first.attempt, second.attempt) == (1, 2)
    assert fault_run.first_at(setup, "BackingOff") < fault_run.watch_history.made_at(second.name)


def test_cancelled_is_reported_once_nothing_of_the_attempt_runs(
    fault_run: JobFaultRun, setups: dict[str, Setup]
) -> None:
    setup = setups["cancelled"]
    fault_run.works(setup)
    fault_run.cancel(setup)
    fault_run.reached(setup, "Cancelled", limit=CANCEL_LIMIT)
    assert not fault_run.living_of(setup)
    fault_run.watch_history.caught_up()
    assert fault_run.watch_history.living(setup.project, at=fault_run.first_at(setup, "Cancelled")) == []
    assert fault_run.record.rows()[setup.project]["status"] == "failed"


def test_deleting_a_setup_deletes_its_job_and_frees_the_project(
    fault_run: JobFaultRun, setups: dict[str, Setup]
) -> None:
    setup = setups["deleted"]
    fault_run.works(setup)
    fault_run.delete(setup)
    wait_for(lambda: fault_run.record.rows()[setup.project]["owner_uid"] is None, "the project to be free")
    assert not fault_run.living_of(setup)
    fault_run.watch_history.caught_up()
    assert fault_run.watch_history.living(setup.project) == []


def test_a_suspended_attempt_does_not_count_and_resumes_with_its_number(
    fault_run: JobFaultRun, setups: dict[str, Setup]
) -> None:
    setup = setups["suspended"]
    fault_run.works(setup)
    fault_run.sandbox.api.patch(setup.project, {"spec": {"suspend": True}})
    status = fault_run.reached(setup, "Suspended")
    assert status["attempt"] == 0
    assert not fault_run.living_of(setup)
    fault_run.watch_history.caught_up()
    assert fault_run.watch_history.living(setup.project, at=fault_run.first_at(setup, "Suspended")) == []

    fault_run.step_server.open(setup.project)
    fault_run.sandbox.api.patch(setup.project, {"spec": {"suspend": False}})
    status = fault_run.reached(setup, "Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 1)
    names = [job.name for job in fault_run.watch_history.jobs_of(setup.project)]
    assert len(set(names)) == 2, "each start has its own Job name"


def test_a_deleted_job_is_interrupted_and_retried(fault_run: JobFaultRun, setups: dict[str, Setup]) -> None:
    setup = setups["robbed"]
    fault_run.works(setup)
    job = fault_run.watch_history.jobs_of(setup.project)[-1]
    fault_run.step_server.open(setup.project)
    fault_run.sandbox.api.kubectl("delete", f"job/{job.name}", "--wait=false")
    status = fault_run.reached(setup, "Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
    assert status["attempts"][0]["reason"] == "Interrupted"
    assert job.name in status["attempts"][0]["message"]


def test_a_finished_job_is_deleted_after_its_ttl(fault_run: JobFaultRun, setups: dict[str, Setup]) -> None:
    project = setups["single"].project
    wait_for(
        lambda: [job.gone for job in fault_run.watch_history.jobs_of(project)] == [True],
        "the Job of a finished setup to go",
        limit=TTL + 30,
    )
    wait_for(lambda: all(pod.gone for pod in fault_run.watch_history.pods_of(project)), "its pod to go")
    assert fault_run.sandbox.status(project)["phase"] == "Succeeded"


def test_the_history_of_all_setups_is_sound(fault_run: JobFaultRun, setups: dict[str, Setup]) -> None:
    assert fault_run.setups.keys() == {setup.project for setup in setups.values()}
    fault_run.await_ends(limit=30)
    fault_run.await_no_remains()
    figures = check_jobs(fault_run).of_setups
    assert (figures.burned, figures.given_back) == (1, 1)


def test_jobs_continue_without_their_operator_and_the_next_adopts_them(
    node_cluster: Cluster, tmp_path: Path, watcher: PodWatcher
) -> None:
    with job_fault_run(node_cluster, tmp_path, watcher) as fault_run:
        operator = fault_run.operator().start()
        ended_meanwhile, others = fault_run.submit("gated"), [fault_run.submit("gated"), fault_run.submit("fortress")]
        fault_run.works(ended_meanwhile, *others)

        operator.kill()
        fault_run.step_server.open(ended_meanwhile.project)
        fault_run.await_over(ended_meanwhile)
        operator.start()
        assert fault_run.reached(ended_meanwhile, "Succeeded", "Failed")["phase"] == "Succeeded"

        pods = [fault_run.pod(setup).name for setup in others]
        assert operator.terminate() == 0
        assert [fault_run.pod(setup).name for setup in others] == pods
        operator.start()
        fault_run.step_server.open(*(setup.project for setup in others))
        fault_run.await_ends(limit=60)

        for setup in (ended_meanwhile, *others):
            status = fault_run.status(setup)
            assert (status["phase"], status["attempt"]) == ("Succeeded", 1)
            assert len(fault_run.watch_history.pods_of(setup.project)) == 1
        figures = check_jobs(fault_run).of_setups
        assert (figures.run, figures.burned, figures.given_back) == (3, 0, 0)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_an_attempt_that_was_reported_but_not_begun_is_interrupted(
    node_cluster: Cluster, tmp_path: Path, watcher: PodWatcher, sent: signal.Signals
) -> None:
    with job_fault_run(node_cluster, tmp_path, watcher, leader_election="false") as fault_run:
        setup = fault_run.submit("calm")
        fault = {"FAULT": f"replace_status Running after {sent.name}"}
        first = fault_run.operator(command=FAULTY, environment=fault).start(ready=False)
        fault_run.reached(setup, "Running")
        if sent is signal.SIGKILL:
            wait_for(lambda: not first.alive, "the operator to be killed")
        fault_run.operator().start()
        status = fault_run.reached(setup, "Succeeded", "Failed")

        if sent is signal.SIGSTOP:
            first.thaw()
            wait_for(lambda: not first.alive, "the operator that wakes up to end")
            assert "another operator has claimed project" in first.log_tail()
            assert fault_run.sandbox.status(setup.project) == status
        fault_run.await_ends(limit=30)
        figures = check_jobs(fault_run).of_setups
        assert (figures.run, figures.burned, figures.given_back) == (1, 1, 0)
        assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
        assert status["attempts"][0]["reason"] == "Interrupted"
        assert [job.attempt for job in fault_run.watch_history.jobs_of(setup.project)] == [2]
        assert [stone.attempt for stone in fault_run.watch_history.tombstones_of(setup.project)] == [1]
