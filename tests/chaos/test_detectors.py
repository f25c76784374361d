"""The checks of the fault tests detect each violation that they claim to detect."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from projectsetup.engines.kubernetes_job.manifest import ATTEMPT, TOMBSTONE
from projectsetup.engines.kubernetes_job.manifest import PROJECT as PROJECT_LABEL
from tests.support.chaos.invariants import ReportedAttempts
from tests.support.chaos.process_watcher import ProcessWatcher
from tests.support.chaos.setup_history import Version
from tests.support.chaos.step_log import StepLog
from tests.support.node.job_history import OF_JOB, JobHistory, ObjectVersion
from tests.support.operator_process import wait_for

PROJECT, OTHER = "a-project", "another-project"


@contextmanager
def attempt(root: Path, number: int, *, project: str = PROJECT) -> Iterator[None]:
    """Run a process with the environment of a step."""
    environment = {"PROJECT_ID": project, "ATTEMPT": str(number), "WORKSPACE": f"{root}/workspace-{number}"}
    process = subprocess.Popen(["/bin/sleep", "60"], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_two_attempts_of_a_project_at_once_are_detected(tmp_path: Path) -> None:
    with ProcessWatcher(tmp_path) as watcher, attempt(tmp_path, 1), attempt(tmp_path, 2):
        wait_for(lambda: watcher.overlaps({PROJECT}), "the overlap to be detected")
        assert {process.attempt for process in watcher.overlaps({PROJECT})[0]} == {"1", "2"}
        assert watcher.overlaps({OTHER}) == []


def test_consecutive_attempts_and_those_of_two_projects_are_no_overlap(tmp_path: Path) -> None:
    with ProcessWatcher(tmp_path) as watcher, attempt(tmp_path, 9, project=OTHER):
        for number in (1, 2, 3):
            with attempt(tmp_path, number):
                scans = watcher.scans
                wait_for(lambda: watcher.scans > scans + 1, "two scans")  # noqa: B023  # awaited within the iteration
                assert [process.attempt for process in watcher.living({PROJECT})] == [str(number)]
        assert watcher.overlaps({PROJECT, OTHER}) == []


def versions(*reported: tuple[int, bool]) -> list[Version]:
    """Versions of `.status` with this attempt number and whether it runs."""
    found = []
    for revision, (number, running) in enumerate(reported):
        status: dict[str, Any] = {"attempt": number, **({"runRef": {"engine": "local"}} if running else {})}
        found.append(Version(revision, {"metadata": {"uid": "u"}, "status": status}))
    return found


@pytest.mark.parametrize(
    ("reported", "is_valid"),
    [
        pytest.param([(1, True), (1, True), (1, False), (2, True), (2, False)], True, id="one after the other"),
        pytest.param([(1, True), (0, False), (1, True), (1, False)], True, id="released"),
        pytest.param([(1, True), (1, False), (0, False), (1, True)], True, id="a new series"),
        pytest.param([(1, True), (1, False), (1, True)], False, id="the same again"),
        pytest.param([(1, True), (2, True)], False, id="the next while one runs"),
        pytest.param([(0, False), (2, True)], False, id="one left out"),
        pytest.param([(2, False), (1, False)], False, id="one released that did not run"),
    ],
)
def test_attempt_numbers_must_follow_each_other(reported: list[tuple[int, bool]], is_valid: bool) -> None:
    assert (ReportedAttempts.read(versions((0, False), *reported)).problems == []) is is_valid


def test_each_workspace_counts_as_a_start(tmp_path: Path) -> None:
    step_log = StepLog(tmp_path / "step_log")
    lines = [(1, "begin", "one"), (1, "end", "one"), (1, "begin", "two"), (2, "begin", "three")]
    step_log.path.write_text("".join(f"{PROJECT} {number} 77 {event} /{place}\n" for number, event, place in lines))
    assert step_log.starts() == {PROJECT: {1: 2, 2: 1}}
    assert step_log.has(PROJECT, "end")
    assert not step_log.has(OTHER, "end")


class JobEvents:
    """A sequence of watch events of Jobs and pods."""

    def __init__(self) -> None:
        self.history = JobHistory(Path("none"), "none")
        self._revision = 0

    def job(self, name: str, project: str = PROJECT, *, attempt: int = 1, tombstone: bool = False, **more: Any) -> int:
        annotations = {TOMBSTONE: "true"} if tombstone else {}
        labels = {PROJECT_LABEL: project, ATTEMPT: str(attempt)}
        return self._add(self.history.jobs[name], name, labels, annotations, **more)

    def pod(self, name: str, job: str, project: str = PROJECT, *, phase: str = "Running", **more: Any) -> int:
        labels = {PROJECT_LABEL: project, OF_JOB: job}
        running: list[Any] = [{"state": {"running" if phase == "Running" else "waiting": {}}}]
        return self._add(self.history.pods[name], name, labels, {}, phase=phase, containerStatuses=running, **more)

    def _add(
        self,
        entries: list[ObjectVersion],
        name: str,
        labels: dict[str, str],
        annotations: dict[str, str],
        *,
        gone: bool = False,
        conditions: tuple[str, ...] = (),
        **status: Any,
    ) -> int:
        self._revision += 1
        full_status = {**status, "conditions": [{"type": kind, "status": "True"} for kind in conditions]}
        metadata = {"name": name, "labels": labels, "annotations": annotations}
        entries.append(ObjectVersion(self._revision, {"metadata": metadata, "status": full_status}, gone=gone))
        return self._revision


def test_two_pods_of_a_project_at_once_are_detected() -> None:
    events = JobEvents()
    events.pod("a", "first", phase="Pending")
    at = events.pod("b", "second", phase="Pending")
    events.pod("a", "first", gone=True)
    assert events.history.overlaps({PROJECT}) == [(at, {"a", "b"})]
    assert events.history.overlaps({OTHER}) == []


def test_pods_one_after_the_other_and_of_two_projects_are_harmless() -> None:
    events = JobEvents()
    events.pod("x", "other", OTHER)
    events.pod("a", "first")
    events.pod("a", "first", phase="Failed")
    events.pod("b", "first")
    events.pod("b", "first", gone=True)
    events.pod("c", "second")
    assert events.history.overlaps({PROJECT, OTHER}) == []


def test_jobs_and_pods_alive_at_a_revision() -> None:
    events = JobEvents()
    events.job("first")
    alive = events.pod("a", "first")
    over = events.pod("a", "first", phase="Succeeded")
    done = events.job("first", conditions=("Complete",))
    assert events.history.living(PROJECT, at=alive) == ["first", "a"]
    assert events.history.living(PROJECT, at=over) == ["first"]
    assert events.history.living(PROJECT, at=done) == events.history.living(PROJECT) == []


def test_a_pod_after_one_that_was_not_disrupted_is_detected() -> None:
    events = JobEvents()
    events.pod("a", "first")
    events.pod("a", "first", conditions=("DisruptionTarget",))
    events.pod("a", "first", gone=True)
    events.pod("b", "first", phase="Failed")
    assert events.history.unexplained_pods({PROJECT}) == []
    events.pod("c", "first")
    assert events.history.unexplained_pods({PROJECT}) == ["c"]


def test_an_attempt_that_runs_as_two_jobs_is_detected_and_tombstones_do_not_count() -> None:
    events = JobEvents()
    events.job("first")
    events.job("tombstone", tombstone=True)
    events.pod("a", "first")
    events.job("second", attempt=2)
    events.pod("b", "second", phase="Pending")
    assert events.history.starts() == {PROJECT: {1: 1}}
    events.job("again")
    events.pod("c", "again")
    assert events.history.starts() == {PROJECT: {1: 2}}
    assert [entry.name for entry in events.history.tombstones_of(PROJECT)] == ["tombstone"]
