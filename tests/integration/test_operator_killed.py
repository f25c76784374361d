"""An operator is killed during attempts, resources change while none runs, and the next operator continues.

What it finds in the record after a kill between two writes is the subject of tests/chaos/test_fault_points.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
import pytest
from psycopg.types.json import Jsonb

from projectsetup.api.models import Failure
from projectsetup.api.reasons import Reason
from projectsetup.controller.outcome import AttemptEnd, EndKind
from tests.support.api_server import Body
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import Sandbox, message
from tests.support.setup_handle import Setup, Steps

LATER: Final = {"backoff": "1h"}
FIRST_FAILS: Final = '[ "$ATTEMPT" -gt 1 ] || exit 75'
END: Final = AttemptEnd(
    kind=EndKind.FAILED,
    attempt=1,
    reason=Reason.STEP_FAILED,
    message="known to the record alone",
    finished_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    failure=Failure(reason="StepFailed", message="no", step="wait", exit_code=3, retryable=False),
)


def record_end(setup: Setup) -> None:
    """Write END to the record, as by an operator that dies before it writes `.status`."""
    with psycopg.connect(setup.sandbox.database_url) as connection:
        connection.execute(
            "UPDATE projects SET status = %s, setup_error = %s, attempt_result = %s, fence = fence + 1 WHERE id = %s",
            (str(END.project_status), Jsonb(END.setup_error), Jsonb(END.to_result()), setup.name),
        )


@dataclass(frozen=True, slots=True)
class Crash:
    """Setups that were running, delayed or had failed when the operator was killed."""

    interrupted: Setup
    ended: Setup
    deleted: Setup
    cancelled: Setup
    delayed: Setup
    cancelled_late: Setup
    retried: Setup
    steps: dict[str, Steps]
    """Those of the gated setups, by name."""
    before: Body
    """The status of `delayed`."""


@pytest.fixture(scope="module")
def crash(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    """The state after the kill, the changes and the next start."""
    folder = tmp_path_factory.mktemp("crash")
    steps = {name: Steps(folder / name) for name in ("interrupted", "ended", "deleted", "cancelled")}
    running = {name: Setup.gated(sandbox, own, annotations=LATER) for name, own in steps.items()}
    delayed, cancelled_late = (Setup.make(sandbox, "scripts", first=FIRST_FAILS, annotations=LATER) for _ in range(2))
    retried = Setup.make(sandbox, "scripts", first='[ -e "$PARAM_PLACE/go" ] || exit 1', place=str(folder))
    for name, setup in running.items():
        steps[name].await_start(setup)
    before = delayed.reached("BackingOff")
    cancelled_late.reached("BackingOff")
    retried.ended()
    sandbox.operator.kill()
    assert running["interrupted"].status["phase"] == "Running"
    record_end(running["ended"])
    running["deleted"].delete()
    for setup in (running["cancelled"], cancelled_late):
        setup.annotate(cancel_requested_at="1")
    (folder / "go").touch()
    retried.annotate(retry_requested_at="1")
    sandbox.operator.start()
    yield Crash(**running, delayed=delayed, cancelled_late=cancelled_late, retried=retried, steps=steps, before=before)
    for own in steps.values():
        own.release()


def test_a_running_attempt_is_interrupted_and_retried(crash: Crash) -> None:
    setup, steps = crash.interrupted, crash.steps["interrupted"]
    status = setup.reached("BackingOff")
    assert (status["attempt"], status["failure"]["reason"], status["failure"]["retryable"]) == (1, "Interrupted", True)
    (attempt,) = status["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["reason"]) == (1, "Failed", "Interrupted")
    assert (setup.record["status"], setup.record["attempt"]) == ("setup_queued", 1)
    steps.release()
    setup.annotate(retry_requested_at="now")
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 2)
    assert steps.attempts == [1, 2]
    setup.wait_for_events("RetryScheduled", "RetryCoalesced", "Succeeded")


def test_an_end_that_only_the_record_holds_is_completed(crash: Crash) -> None:
    why, status = crash.ended.ended()
    assert (why, status["attempt"], status["projectStatus"]) == ("StepFailed", 1, "failed")
    assert "runRef" not in status
    (attempt,) = status["attempts"]
    assert attempt["finishedAt"] == status["finishedAt"] == "2026-01-02T03:04:05Z"
    assert (status["failure"]["message"], attempt["reason"], message(status)) == ("no", "StepFailed", END.message)
    assert crash.steps["ended"].attempts == [1]
    crash.ended.wait_for_events("Failed")


def test_a_backoff_survives_the_operator(crash: Crash) -> None:
    setup = crash.delayed
    Setup.make(setup.sandbox).ended()  # it starts after all others were reconciled
    assert setup.status == crash.before
    soon = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    setup.api.patch_status(setup.name, {"nextAttemptAt": soon})
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 2)


def test_a_setup_deleted_during_the_outage_frees_its_project(crash: Crash) -> None:
    setup, steps = crash.deleted, crash.steps["deleted"]
    wait_for(lambda: setup.record["owner_uid"] is None, "its project to be free")
    assert setup.record["status"] == "created"
    steps.release()
    assert Setup.gated(setup.sandbox, steps, project=setup.name).ended()[0] == "SetupSucceeded"


def test_requests_made_during_the_outage_are_handled(crash: Crash) -> None:
    assert crash.retried.ended_after_retry("1")[0] == "SetupSucceeded"
    assert crash.cancelled_late.ended()[0] == "Cancelled"
    assert crash.cancelled.ended()[0] == "Cancelled"
    assert crash.steps["cancelled"].attempts == [1]
