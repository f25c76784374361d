"""The checks of the Job tests detect each kind of harm that a watch can show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from projectsetup.engines.kubernetes_job.manifest import ATTEMPT, PROJECT, TOMBSTONE
from tests.support.node.watch_history import OF_JOB, Entry, WatchHistory

ONE, OTHER = "one-project", "another-project"


class Story:
    """A sequence of watch events."""

    def __init__(self) -> None:
        self.watch_history = WatchHistory(Path("none"), "none")
        self._revision = 0

    def job(self, name: str, project: str = ONE, *, attempt: int = 1, stone: bool = False, **more: Any) -> int:
        annotations = {TOMBSTONE: "true"} if stone else {}
        labels = {PROJECT: project, ATTEMPT: str(attempt)}
        return self._tell(self.watch_history.jobs[name], name, labels, annotations, **more)

    def pod(self, name: str, job: str, project: str = ONE, *, phase: str = "Running", **more: Any) -> int:
        labels = {PROJECT: project, OF_JOB: job}
        running: list[Any] = [{"state": {"running" if phase == "Running" else "waiting": {}}}]
        return self._tell(
            self.watch_history.pods[name], name, labels, {}, phase=phase, containerStatuses=running, **more
        )

    def _tell(
        self,
        entries: list[Entry],
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
        entries.append(Entry(self._revision, {"metadata": metadata, "status": full_status}, gone=gone))
        return self._revision


def test_two_pods_of_a_project_at_once_are_detected() -> None:
    story = Story()
    story.pod("a", "first", phase="Pending")
    at = story.pod("b", "second", phase="Pending")
    story.pod("a", "first", gone=True)
    assert story.watch_history.overlaps({ONE}) == [(at, {"a", "b"})]
    assert story.watch_history.overlaps({OTHER}) == []


def test_pods_one_after_the_other_and_of_two_projects_are_harmless() -> None:
    story = Story()
    story.pod("x", "other", OTHER)
    story.pod("a", "first")
    story.pod("a", "first", phase="Failed")
    story.pod("b", "first")
    story.pod("b", "first", gone=True)
    story.pod("c", "second")
    assert story.watch_history.overlaps({ONE, OTHER}) == []


def test_what_was_alive_at_a_revision() -> None:
    story = Story()
    story.job("first")
    alive = story.pod("a", "first")
    over = story.pod("a", "first", phase="Succeeded")
    done = story.job("first", conditions=("Complete",))
    assert story.watch_history.living(ONE, at=alive) == ["first", "a"]
    assert story.watch_history.living(ONE, at=over) == ["first"]
    assert story.watch_history.living(ONE, at=done) == story.watch_history.living(ONE) == []


def test_a_pod_after_one_that_was_not_disrupted_is_detected() -> None:
    story = Story()
    story.pod("a", "first")
    story.pod("a", "first", conditions=("DisruptionTarget",))
    story.pod("a", "first", gone=True)
    story.pod("b", "first", phase="Failed")
    assert story.watch_history.unexplained_pods({ONE}) == []
    story.pod("c", "first")
    assert story.watch_history.unexplained_pods({ONE}) == ["c"]


def test_an_attempt_that_runs_as_two_jobs_is_detected_and_tombstones_do_not_count() -> None:
    story = Story()
    story.job("first")
    story.job("stone", stone=True)
    story.pod("a", "first")
    story.job("second", attempt=2)
    story.pod("b", "second", phase="Pending")
    assert story.watch_history.starts() == {ONE: {1: 1}}
    story.job("again")
    story.pod("c", "again")
    assert story.watch_history.starts() == {ONE: {1: 2}}
    assert [entry.name for entry in story.watch_history.tombstones_of(ONE)] == ["stone"]
