"""All processes of an attempt end with it, whatever happens to the operator and however they resist."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_stage import AT_ONCE, Stage, reason
from tests.support.processes import children, living, new_mark, sessions

NewStage = Callable[..., AbstractContextManager[Stage]]

FAMILY, SESSIONS = 11, 6
"""Processes that the recipe `stubborn-family` starts, and the sessions that they are in."""

GONE_AFTER_DEATH = 2.0
GONE_BEFORE_LEASE = 25.0
GONE_AFTER_STOP = 15.0
"""Seconds that the contract allows."""


@pytest.fixture(scope="module")
def calm(new_stage: NewStage) -> Iterator[Stage]:
    with new_stage(shutdown_grace="1s") as stage:
        stage.operator.start()
        yield stage


@pytest.fixture
def stage(calm: Stage) -> Stage:
    """A stage with a running operator, which the test may end."""
    if not calm.operator.alive:
        calm.operator.start()
    return calm


@dataclass(frozen=True, slots=True)
class Frozen:
    """A leading operator that was frozen during an attempt."""

    stage: Stage
    project: str
    mark: str


@pytest.fixture(scope="module")
def frozen(new_stage: NewStage) -> Iterator[Frozen]:
    """Its Lease expires while other tests run."""
    with new_stage(leader_election="true") as stage:
        stage.operator.start()
        wait_for(stage.operator.leads, "the operator to lead")
        frozen = Frozen(stage, *family(stage))
        stage.operator.freeze()
        yield frozen


def family(stage: Stage, **spec: object) -> tuple[str, str]:
    """A project whose attempt resists its end, and the mark of its processes."""
    mark = new_mark()
    parameters = {"mark": mark}
    project = stage.apply(stage.project(), "stubborn-family", annotations=AT_ONCE, parameters=parameters, **spec)
    wait_for(lambda: is_complete(living(mark)), "the whole family to be there")
    return project, mark


def is_complete(members: set[int]) -> bool:
    return len(members) >= FAMILY and len(sessions(members)) >= SESSIONS


def are_gone(mark: str, *, limit: float) -> None:
    wait_for(lambda: not living(mark), "all processes of the attempt to be gone", limit=limit)


def workspaces(stage: Stage) -> list[Path]:
    return list(stage.operator.workspaces.iterdir())


def supervisor(stage: Stage) -> int:
    (pid,) = children(stage.operator.pid)
    return pid


def test_a_frozen_operator_loses_its_attempts_before_its_lease(frozen: Frozen) -> None:
    are_gone(frozen.mark, limit=GONE_BEFORE_LEASE)
    wait_for(lambda: not workspaces(frozen.stage), "the workspace to be removed")
    assert frozen.stage.status(frozen.project)["phase"] == "Running"


def test_all_processes_are_gone_soon_after_the_operator_is_killed(stage: Stage) -> None:
    families = dict(family(stage) for _ in range(3))
    stage.operator.kill()
    for mark in families.values():
        are_gone(mark, limit=GONE_AFTER_DEATH)
    wait_for(lambda: not workspaces(stage), "the workspaces to be removed")
    wait_for(lambda: not living(str(stage.operator.workspaces)), "the supervisor to end")
    assert {stage.status(project)["phase"] for project in families} == {"Running"}


def test_the_next_operator_removes_what_the_supervisor_could_not(stage: Stage) -> None:
    project, mark = family(stage)
    watcher = supervisor(stage)
    stage.operator.freeze()
    os.kill(watcher, signal.SIGKILL)
    stage.operator.kill()
    are_gone(mark, limit=GONE_AFTER_DEATH)
    (left,) = workspaces(stage)
    stage.operator.start()
    status = stage.ended(project)
    assert [attempt["reason"] for attempt in status["attempts"]] == ["Interrupted", "SetupSucceeded"]
    wait_for(lambda: not left.exists(), "the leftovers to be removed")


def test_an_attempt_whose_supervisor_is_killed_is_interrupted_and_retried(stage: Stage) -> None:
    project, mark = family(stage)
    os.kill(supervisor(stage), signal.SIGKILL)
    status = stage.ended(project)
    assert not living(mark)
    assert [attempt["reason"] for attempt in status["attempts"]] == ["Interrupted", "SetupSucceeded"]
    assert status["attempts"][0]["message"] == "step multiply was interrupted: its supervisor died"
    assert stage.record(project)["status"] == "ready"


def test_all_processes_are_gone_when_a_cancel_or_deletion_is_reported(stage: Stage) -> None:
    cancelled, cancelled_mark = family(stage)
    deleted, deleted_mark = family(stage)
    stage.annotate(cancelled, "cancel-requested-at", "now")
    stage.api.delete(deleted)
    status = stage.reached(cancelled, "Cancelled", limit=GONE_AFTER_STOP)
    assert not living(cancelled_mark)
    assert reason(status) == "Cancelled"
    assert stage.record(cancelled)["setup_error"]["reason"] == "Cancelled"
    wait_for(lambda: stage.record(deleted)["owner_uid"] is None, "the claim to be released", limit=GONE_AFTER_STOP)
    assert not living(deleted_mark)
    assert stage.record(deleted)["status"] == "created"
    wait_for(lambda: len(workspaces(stage)) == 1 and not attempts(stage), "the workspaces to be removed")


def test_a_cancelled_step_may_clean_up(stage: Stage, tmp_path: Path) -> None:
    script = 'trap "touch $PARAM_PLACE/cleaned; exit 1" TERM; touch "$PARAM_PLACE/begun"; sleep 600 & wait'
    project = stage.apply(stage.project(), "scripts", parameters={"first": script, "place": str(tmp_path)})
    wait_for((tmp_path / "begun").exists, "the step to begin")
    stage.annotate(project, "cancel-requested-at", "now")
    stage.reached(project, "Cancelled")
    assert (tmp_path / "cleaned").exists()


def test_a_clean_shutdown_releases_the_running_attempt(stage: Stage) -> None:
    project, mark = family(stage)
    assert stage.operator.terminate() == 0
    assert not living(mark)
    assert not living(str(stage.operator.workspaces))
    assert not workspaces(stage)
    status = stage.status(project)
    assert (status["phase"], status["attempt"], status.get("attempts", [])) == ("Queued", 0, [])
    assert "runRef" not in status
    record = stage.record(project)
    assert (record["status"], record["setup_error"]) == ("setup_queued", None)
    stage.api.delete(project)


def test_an_attempt_that_ends_within_the_grace_is_recorded(stage: Stage, tmp_path: Path) -> None:
    script = 'touch "$PARAM_PLACE/begun"; until test -e "$PARAM_PLACE/go"; do sleep 0.05; done'
    project = stage.apply(stage.project(), "scripts", parameters={"third": script, "place": str(tmp_path)})
    wait_for((tmp_path / "begun").exists, "the step to begin")
    stage.operator.process.terminate()
    wait_for(lambda: "no new attempts start" in stage.operator.log_tail(), "the operator to shut down")
    (tmp_path / "go").touch()
    assert stage.operator.process.wait(30) == 0
    assert stage.status(project)["phase"] == "Succeeded"
    assert stage.record(project)["status"] == "ready"


def test_a_frozen_operator_that_wakes_up_after_its_lease_writes_nothing(frozen: Frozen) -> None:
    stage = frozen.stage
    record, version = stage.record(frozen.project), stage.api.get(frozen.project)["metadata"]["resourceVersion"]
    await_end_of_lease(stage)
    stage.operator.thaw()
    assert stage.operator.process.wait(30) == 1
    assert stage.operator.log.read_text().count("lost the leader lease") == 1
    assert stage.record(frozen.project) == record
    assert stage.api.get(frozen.project)["metadata"]["resourceVersion"] == version
    assert not living(str(stage.operator.workspaces))


def attempts(stage: Stage) -> list[Path]:
    """The attempt folders of the running operator."""
    return [entry for folder in workspaces(stage) for entry in folder.iterdir() if entry.is_dir()]


def await_end_of_lease(stage: Stage) -> None:
    """Return once the Lease has expired."""
    spec = json.loads(stage.api.kubectl("get", "lease", "projectsetup-operator", "-o", "json"))["spec"]
    renewed = datetime.fromisoformat(spec["renewTime"])
    end = renewed + timedelta(seconds=spec["leaseDurationSeconds"])
    wait_for(lambda: datetime.now(UTC) > end, "the Lease to expire", limit=60)
