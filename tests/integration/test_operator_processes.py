"""All processes of an attempt end with it, even if they resist or the operator dies."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NO_BACKOFF, NewSandbox, Sandbox, reason
from tests.support.processes import living, new_mark, sessions
from tests.support.setup_handle import Setup, Steps

FAMILY, SESSIONS = 11, 6
"""Processes that the recipe `stubborn-family` starts, and the sessions that they are in."""

GONE_AFTER_DEATH = 2.0
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


def test_all_processes_are_gone_soon_after_the_operator_is_killed(sandbox: Sandbox) -> None:
    families = dict(family(sandbox) for _ in range(3))
    sandbox.operator.kill()
    for mark in families.values():
        wait_until_gone(mark, limit=GONE_AFTER_DEATH)
    wait_for(lambda: not workspaces(sandbox), "the workspaces to be removed")
    wait_for(lambda: not living(str(sandbox.operator.workspaces)), "the supervisor to end")
    assert {setup.status["phase"] for setup in families} == {"Running"}


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


def attempts(sandbox: Sandbox) -> list[Path]:
    """The attempt folders of the running operator."""
    return [entry for folder in workspaces(sandbox) for entry in folder.iterdir() if entry.is_dir()]


def test_an_attempt_without_a_workspace_is_retried(sandbox: Sandbox) -> None:
    root = sandbox.operator.workspaces
    shutil.rmtree(root)
    setup = Setup.make(sandbox, annotations={"backoff": "200ms", "max_attempts": "20"})
    setup.wait_for("failed without a workspace", lambda status: status.get("attempts"))
    root.mkdir()
    why, status = setup.ended()
    assert why == "SetupSucceeded"
    first = status["attempts"][0]
    assert (first["reason"], first["outcome"]) == ("EngineError", "Failed")
    assert setup.record["status"] == "ready"


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
