"""All processes of an attempt end with it, even if they resist or the operator dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NO_BACKOFF, NewSandbox, Sandbox, reason
from tests.support.processes import children, living, new_mark, sessions
from tests.support.setup_handle import Setup, Steps

FAMILY, SESSIONS = 11, 6
"""Processes that the recipe `stubborn-family` starts, and the sessions that they are in."""

GONE_AFTER_DEATH = 2.0
GONE_BEFORE_LEASE = 25.0
GONE_AFTER_STOP = 15.0
"""Seconds that the contract allows."""


@pytest.fixture(scope="module")
def calm(new_sandbox: NewSandbox) -> Iterator[Sandbox]:
    with new_sandbox(shutdown_grace="1s") as sandbox:
        sandbox.operator.start()
        yield sandbox


@pytest.fixture
def sandbox(calm: Sandbox) -> Sandbox:
    """A sandbox with a running operator, which the test may end."""
    if not calm.operator.alive:
        calm.operator.start()
    return calm


@dataclass(frozen=True, slots=True)
class Frozen:
    """A leading operator that was frozen during an attempt."""

    sandbox: Sandbox
    setup: Setup
    mark: str


@pytest.fixture(scope="module")
def frozen(new_sandbox: NewSandbox) -> Iterator[Frozen]:
    """Its Lease expires while other tests run."""
    with new_sandbox(leader_election="true") as sandbox:
        sandbox.operator.start()
        wait_for(sandbox.operator.leads, "the operator to lead")
        frozen = Frozen(sandbox, *family(sandbox))
        sandbox.operator.freeze()
        yield frozen


def family(sandbox: Sandbox) -> tuple[Setup, str]:
    """A setup whose attempt resists termination, and the mark of its processes."""
    mark = new_mark()
    setup = Setup.make(sandbox, "stubborn-family", annotations=NO_BACKOFF, mark=mark)
    wait_for(lambda: is_complete(living(mark)), "all processes of the family to run")
    return setup, mark


def is_complete(members: set[int]) -> bool:
    return len(members) >= FAMILY and len(sessions(members)) >= SESSIONS


def wait_until_gone(mark: str, *, limit: float) -> None:
    wait_for(lambda: not living(mark), "all processes of the attempt to be gone", limit=limit)


def workspaces(sandbox: Sandbox) -> list[Path]:
    return list(sandbox.operator.workspaces.iterdir())


def supervisor(sandbox: Sandbox) -> int:
    (pid,) = children(sandbox.operator.pid)
    return pid


def test_a_frozen_operator_loses_its_attempts_before_its_lease(frozen: Frozen) -> None:
    wait_until_gone(frozen.mark, limit=GONE_BEFORE_LEASE)
    wait_for(lambda: not workspaces(frozen.sandbox), "the workspace to be removed")
    assert frozen.setup.status["phase"] == "Running"


def test_all_processes_are_gone_soon_after_the_operator_is_killed(sandbox: Sandbox) -> None:
    families = dict(family(sandbox) for _ in range(3))
    sandbox.operator.kill()
    for mark in families.values():
        wait_until_gone(mark, limit=GONE_AFTER_DEATH)
    wait_for(lambda: not workspaces(sandbox), "the workspaces to be removed")
    wait_for(lambda: not living(str(sandbox.operator.workspaces)), "the supervisor to end")
    assert {setup.status["phase"] for setup in families} == {"Running"}


def test_an_attempt_whose_supervisor_is_killed_is_interrupted_and_retried(sandbox: Sandbox) -> None:
    setup, mark = family(sandbox)
    os.kill(supervisor(sandbox), signal.SIGKILL)
    _, status = setup.ended()
    assert not living(mark)
    assert [attempt["reason"] for attempt in status["attempts"]] == ["Interrupted", "SetupSucceeded"]
    assert status["attempts"][0]["message"] == "step multiply was interrupted: its supervisor died"
    assert setup.record["status"] == "ready"


def test_all_processes_are_gone_when_a_cancel_or_deletion_is_reported(sandbox: Sandbox) -> None:
    cancelled, cancelled_mark = family(sandbox)
    deleted, deleted_mark = family(sandbox)
    cancelled.annotate(cancel_requested_at="now")
    deleted.delete()
    status = cancelled.reached("Cancelled", limit=GONE_AFTER_STOP)
    assert not living(cancelled_mark)
    assert reason(status) == "Cancelled"
    assert cancelled.record["setup_error"]["reason"] == "Cancelled"
    wait_for(lambda: deleted.record["owner_uid"] is None, "the claim to be released", limit=GONE_AFTER_STOP)
    assert not living(deleted_mark)
    assert deleted.record["status"] == "created"
    wait_for(lambda: len(workspaces(sandbox)) == 1 and not attempts(sandbox), "the workspaces to be removed")


def test_a_clean_shutdown_releases_the_running_attempt(sandbox: Sandbox) -> None:
    setup, mark = family(sandbox)
    assert sandbox.operator.terminate() == 0
    assert not living(mark)
    assert not living(str(sandbox.operator.workspaces))
    assert not workspaces(sandbox)
    status = setup.status
    assert (status["phase"], status["attempt"], status.get("attempts", [])) == ("Queued", 0, [])
    assert "runRef" not in status
    record = setup.record
    assert (record["status"], record["setup_error"]) == ("setup_queued", None)
    setup.delete()


def test_a_frozen_operator_that_wakes_up_after_its_lease_writes_nothing(frozen: Frozen) -> None:
    sandbox, setup = frozen.sandbox, frozen.setup
    record, version = setup.record, setup.body["metadata"]["resourceVersion"]
    await_end_of_lease(sandbox)
    sandbox.operator.thaw()
    assert sandbox.operator.process.wait(30) == 1
    assert sandbox.operator.log.read_text().count("lost the leader lease") == 1
    assert setup.record == record
    assert setup.body["metadata"]["resourceVersion"] == version
    assert not living(str(sandbox.operator.workspaces))


def attempts(sandbox: Sandbox) -> list[Path]:
    """The attempt folders of the running operator."""
    return [entry for folder in workspaces(sandbox) for entry in folder.iterdir() if entry.is_dir()]


def await_end_of_lease(sandbox: Sandbox) -> None:
    """Return once the Lease has expired."""
    spec = json.loads(sandbox.api.kubectl("get", "lease", "projectsetup-operator", "-o", "json"))["spec"]
    renewed = datetime.fromisoformat(spec["renewTime"])
    end = renewed + timedelta(seconds=spec["leaseDurationSeconds"])
    wait_for(lambda: datetime.now(UTC) > end, "the Lease to expire", limit=60)


@pytest.fixture
def root(sandbox: Sandbox) -> Iterator[Path]:
    """The workspace root; it exists again after the test."""
    yield sandbox.operator.workspaces
    sandbox.operator.workspaces.mkdir(exist_ok=True)


def test_an_attempt_without_a_workspace_is_retried(sandbox: Sandbox, root: Path) -> None:
    shutil.rmtree(root)
    setup = Setup.make(sandbox, annotations={**NO_BACKOFF, "max_attempts": "20"})
    setup.wait_for("failed without a workspace", lambda status: status.get("attempts"))
    root.mkdir()
    why, status = setup.ended()
    assert why == "SetupSucceeded"
    first = status["attempts"][0]
    assert (first["reason"], first["outcome"]) == ("EngineError", "Failed")
    assert setup.record["status"] == "ready"


def test_an_attempt_that_loses_its_workspace_between_steps_is_retried(
    sandbox: Sandbox, root: Path, tmp_path: Path
) -> None:
    begin = 'test "$ATTEMPT" = 1 || exit 0; touch "$PARAM_PLACE/begun"'
    wait = 'until test -e "$PARAM_PLACE/go"; do sleep 0.05; done'
    setup = Setup.make(sandbox, "scripts", annotations=NO_BACKOFF, first=f"{begin}; {wait}", place=str(tmp_path))
    wait_for((tmp_path / "begun").exists, "the step to begin")
    for entry in root.iterdir():
        shutil.rmtree(entry)
    (tmp_path / "go").touch()
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 2)
    assert status["attempts"][0]["reason"] == "EngineError"
    assert sandbox.operator.alive


@pytest.fixture
def lasting(new_sandbox: NewSandbox) -> Iterator[Sandbox]:
    with new_sandbox(concurrency="2", shutdown_grace="60s") as sandbox:
        sandbox.operator.start()
        yield sandbox


def test_a_running_attempt_may_end_within_the_grace(lasting: Sandbox, steps: Steps) -> None:
    running = [Setup.gated(lasting, steps) for _ in range(2)]
    steps.await_start(*running)
    queued = Setup.gated(lasting, steps)
    queued.reached_reason("Queued")
    lasting.operator.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "no new attempts start" in lasting.operator.log.read_text(), "the shutdown to begin")
    steps.release(running[0])
    assert running[0].ended()[0] == "SetupSucceeded"
    Setup.make(lasting).reached_reason("Queued")
    assert len(steps.started) == 2
    steps.release()
    assert lasting.operator.process.wait(60) == 0
    for setup in running:
        status = setup.status
        assert (status["phase"], status["attempt"], setup.record["status"]) == ("Succeeded", 1, "ready")
    assert queued.status["phase"] == "Queued"
    assert len(steps.started) == 2


def test_an_operator_with_an_outdated_fence_writes_nothing_and_exits(sandbox: Sandbox, steps: Steps) -> None:
    setup = Setup.gated(sandbox, steps)
    steps.await_start(setup)
    before = setup.status
    with psycopg.connect(sandbox.database_url) as connection:  # as another operator that has taken over
        connection.execute("UPDATE projects SET fence = fence + 1 WHERE id = %s", (setup.name,))
    record = setup.record
    steps.release()
    assert sandbox.operator.process.wait(60) == 1
    assert (setup.record, setup.status) == (record, before)
    assert "another operator has claimed project" in sandbox.operator.log.read_text()
