"""Setups as Jobs on a real node: cancelled, deleted, suspended, retried, and adopted from operators that ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from devcluster import Cluster
from tests.support.chaos.fault_run import FAULTY_OPERATOR, FaultSetup, await_leadership
from tests.support.chaos.process_watcher import PodWatcher
from tests.support.node.job_fault_run import JobFaultRun, check_job_invariants, job_fault_run
from tests.support.operator_process import wait_for

TTL: Final = 8
SETUPS: Final = {
    "cancelled": "sigterm-proof",
    "deleted": "gated",
    "suspended": "gated",
    "job deleted": "gated",
    "retried": "transient",
}
"""The behavior of the setup of each test."""

Setups = dict[str, FaultSetup]


@pytest.fixture(scope="module")
def watcher() -> Iterator[PodWatcher]:
    with PodWatcher() as watcher:
        yield watcher


@pytest.fixture(scope="module")
def run(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, watcher: PodWatcher) -> Iterator[JobFaultRun]:
    """One operator for all tests that do not stop it."""
    folder = tmp_path_factory.mktemp("run")
    with job_fault_run(node_cluster, folder, watcher, concurrency="10", job_ttl=f"{TTL}s") as run:
        await_leadership(run.operator().start())
        yield run


@pytest.fixture(scope="module")
def setups(run: JobFaultRun) -> Setups:
    """All setups at once; each test has its own."""
    setups = {name: run.submit(behavior) for name, behavior in SETUPS.items()}
    for moment in range(3):
        setups[f"at once {moment}"] = setup = run.submit("gated")
        time.sleep(moment * 0.05)  # another moment of its start for each
        run.cancel(setup)
    return {**setups, "single": run.submit("quick", recipe="single")}


def test_a_setup_of_one_step_costs_two_status_writes(run: JobFaultRun, setups: Setups) -> None:
    setup = setups["single"]
    assert setup.reached("Succeeded", "Failed")["phase"] == "Succeeded"
    run.history.catch_up()
    phases = [version.status.get("phase") for version in run.history.versions[setup.name]]
    assert phases == [None, "Running", "Succeeded"]


def test_a_retryable_failure_is_retried_by_another_job(run: JobFaultRun, setups: Setups) -> None:
    setup = setups["retried"]
    status = setup.reached("Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
    assert [(one["outcome"], one["reason"]) for one in status["attempts"]] == [
        ("Failed", "StepTransient"),
        ("Succeeded", "SetupSucceeded"),
    ]
    first, second = run.job_history.jobs_of(setup.name)
    assert (first.attempt, second.attempt) == (1, 2)
    assert run.first_at(setup, "BackingOff") < run.job_history.created_at(second.name)


def test_cancelled_is_reported_once_nothing_of_the_attempt_runs(run: JobFaultRun, setups: Setups) -> None:
    setup = setups["cancelled"]
    run.await_work(setup)
    setup.wait_for("at the second step of its container", lambda status: status.get("step") == "work")
    run.cancel(setup)
    setup.reached("Cancelled")
    assert not run.processes_of(setup)
    run.job_history.catch_up()
    assert run.job_history.living(setup.name, at=run.first_at(setup, "Cancelled")) == []
    assert setup.record["status"] == "failed"


def test_a_cancel_right_after_the_start_leaves_nothing(run: JobFaultRun, setups: Setups) -> None:
    at_once = [setup for name, setup in setups.items() if name.startswith("at once")]
    for setup in at_once:
        setup.reached("Cancelled")
    run.job_history.catch_up()
    assert [run.job_history.living(setup.name) for setup in at_once] == [[], [], []]


def test_deleting_a_setup_deletes_its_job_and_frees_the_project(run: JobFaultRun, setups: Setups) -> None:
    setup = setups["deleted"]
    run.await_work(setup)
    run.delete(setup)
    wait_for(lambda: setup.record["owner_uid"] is None, "the project to be free")
    assert not run.processes_of(setup)
    run.job_history.catch_up()
    assert run.job_history.living(setup.name) == []


def test_a_suspended_attempt_does_not_count_and_resumes_with_its_number(run: JobFaultRun, setups: Setups) -> None:
    setup = setups["suspended"]
    run.await_work(setup)
    setup.change(suspend=True)
    status = setup.reached("Suspended")
    assert status["attempt"] == 0
    assert not run.processes_of(setup)
    run.job_history.catch_up()
    assert run.job_history.living(setup.name, at=run.first_at(setup, "Suspended")) == []

    run.step_server.open(setup.name)
    setup.change(suspend=False)
    status = setup.reached("Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 1)
    names = [job.name for job in run.job_history.jobs_of(setup.name)]
    assert len(set(names)) == 2, "each start has its own Job name"


def test_a_deleted_job_is_interrupted_and_retried(run: JobFaultRun, setups: Setups) -> None:
    setup = setups["job deleted"]
    run.await_work(setup)
    job, pod = run.job_history.jobs_of(setup.name)[-1], run.pod(setup).name
    run.sandbox.api.kubectl("delete", f"job/{job.name}", "--wait=false")
    wait_for(lambda: run.job_history.pods[pod][-1].gone, "the pod of the deleted Job to be gone")
    run.step_server.open(setup.name)
    status = setup.reached("Succeeded", "Failed")
    assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
    assert status["attempts"][0]["reason"] == "Interrupted"
    assert job.name in status["attempts"][0]["message"]


def test_a_finished_job_is_deleted_after_its_ttl(run: JobFaultRun, setups: Setups) -> None:
    project = setups["single"].name
    wait_for(
        lambda: [job.gone for job in run.job_history.jobs_of(project)] == [True],
        "the Job of a finished setup to go",
        limit=TTL + 30,
    )
    wait_for(lambda: all(pod.gone for pod in run.job_history.pods_of(project)), "its pod to go")
    assert setups["single"].status["phase"] == "Succeeded"


def test_the_history_of_all_setups_is_sound(run: JobFaultRun, setups: Setups) -> None:
    assert run.setups.keys() == {setup.name for setup in setups.values()}
    run.await_ends(limit=30)
    run.await_cleanup()
    figures = check_job_invariants(run).setups
    assert (figures.interrupted, figures.released) == (1, 1)


def test_jobs_continue_without_their_operator_and_the_next_adopts_them(
    node_cluster: Cluster, tmp_path: Path, watcher: PodWatcher
) -> None:
    with job_fault_run(node_cluster, tmp_path, watcher) as run:
        operator = run.operator().start()
        ended_meanwhile, others = run.submit("gated"), [run.submit("gated"), run.submit("sigterm-proof")]
        run.await_work(ended_meanwhile, *others)

        operator.kill()
        run.step_server.open(ended_meanwhile.name)
        run.await_job_end(ended_meanwhile)
        operator.start()
        assert ended_meanwhile.reached("Succeeded", "Failed")["phase"] == "Succeeded"

        pods = [run.pod(setup).name for setup in others]
        assert operator.terminate() == 0
        assert [run.pod(setup).name for setup in others] == pods
        operator.start()
        run.step_server.open(*(setup.name for setup in others))
        run.await_ends(limit=60)

        for setup in (ended_meanwhile, *others):
            status = run.status(setup)
            assert (status["phase"], status["attempt"]) == ("Succeeded", 1)
            assert len(run.job_history.pods_of(setup.name)) == 1
        figures = check_job_invariants(run).setups
        assert (figures.ran, figures.interrupted, figures.released) == (3, 0, 0)


def test_an_attempt_that_was_reported_but_not_begun_is_interrupted(
    node_cluster: Cluster, tmp_path: Path, watcher: PodWatcher
) -> None:
    """Its operator freezes between the two, and wakes up after the next one has set the project up."""
    with job_fault_run(node_cluster, tmp_path, watcher, leader_election="false") as run:
        setup = run.submit("quick")
        fault = {"FAULT": "replace_status Running after SIGSTOP"}
        frozen = run.operator(command=FAULTY_OPERATOR, environment=fault).start(ready=False)
        setup.reached("Running")
        run.operator().start()
        status = setup.reached("Succeeded", "Failed")
        frozen.thaw()
        wait_for(lambda: not frozen.alive, "the operator that wakes up to end")
        assert "another operator has claimed project" in frozen.log_tail()
        assert setup.status == status
        run.await_ends(limit=30)
        figures = check_job_invariants(run).setups
        assert (figures.ran, figures.interrupted, figures.released) == (1, 1, 0)
        assert (status["phase"], status["attempt"]) == ("Succeeded", 2)
        assert status["attempts"][0]["reason"] == "Interrupted"
        assert [job.attempt for job in run.job_history.jobs_of(setup.name)] == [2]
        assert [stone.attempt for stone in run.job_history.tombstones_of(setup.name)] == [1]
