"""Requests of users: cancel, manual retry, both at once, suspend and resume."""

from __future__ import annotations

from tests.support.operator_sandbox import Sandbox, message
from tests.support.setup_handle import Setup, Steps

TOKEN = "token=2026-11-24T12:00:00Z"
"""A value of a request that looks like a secret; it must be remembered as it is, or it would count as new again."""


def test_retries_and_cancels_in_the_life_of_one_setup(sandbox: Sandbox, steps: Steps) -> None:
    setup = Setup.gated(sandbox, steps)
    steps.await_start(setup)
    setup.wait_for_events("Started")
    assert setup.notes("Started") == [f"project {setup.record['name']}: attempt 1 of 3 started"]
    setup.annotate(retry_requested_at="1")
    status = setup.wait_for("past the retry", lambda status: status.get("lastHandledRetry") == "1")
    assert (status["phase"], status["attempt"]) == ("Running", 1)

    setup.annotate(cancel_requested_at="1", retry_requested_at="2")
    why, status = setup.ended()
    assert (why, status["phase"], status["projectStatus"]) == ("Cancelled", "Cancelled", "failed")
    assert (status["attempt"], status["lastHandledCancel"], status["lastHandledRetry"]) == (1, "1", "2")
    assert status["finishedAt"]
    assert not {"runRef", "nextAttemptAt"} & status.keys()
    record = setup.record
    assert (record["status"], record["setup_error"]["reason"]) == ("failed", "Cancelled")
    assert record["setup_error"]["message"] == message(status)

    setup.annotate(cancel_requested_at="2")
    ignored = setup.wait_for("past the cancel", lambda status: status.get("lastHandledCancel") == "2")
    assert ignored == {**status, "lastHandledCancel": "2"}

    setup.annotate(retry_requested_at=TOKEN)
    setup.reached("Running")
    steps.release()
    why, status = setup.ended_after_retry(TOKEN)
    assert (why, status["attempt"], status["lastHandledCancel"]) == ("SetupSucceeded", 1, "2")
    assert [(a["number"], a["outcome"]) for a in status["attempts"]] == [(1, "Cancelled"), (1, "Succeeded")]
    assert steps.attempts == [1, 1]
    setup.wait_for_events(
        *("RetryCoalesced", "Cancelled", "RetryIgnored", "CancelIgnored"),
        *("RetryRequested", "Succeeded"),
    )


def test_a_last_step_that_succeeds_despite_a_cancel_is_a_success(sandbox: Sandbox, steps: Steps) -> None:
    script = 'trap "exit 0" TERM; echo "$PROJECT_ID $ATTEMPT" >> "$PARAM_PLACE/started"; while :; do sleep 0.05; done'
    setup = Setup.make(sandbox, "scripts", third=script, place=str(steps.folder))
    steps.await_start(setup)
    setup.annotate(cancel_requested_at="1")
    why, status = setup.ended()
    assert (why, status["projectStatus"], status["lastHandledCancel"]) == ("SetupSucceeded", "ready", "1")
    assert setup.record["status"] == "ready"
    setup.wait_for_events("Succeeded", "CancelIgnored")


def test_a_suspended_setup_starts_nothing_and_its_running_attempt_is_released(sandbox: Sandbox, steps: Steps) -> None:
    setup = Setup.gated(sandbox, steps, spec={"suspend": True})
    status = setup.reached_reason("Suspended")
    assert (status["phase"], status["attempt"]) == ("Suspended", 0)
    Setup.make(sandbox).ended()
    assert steps.started == []
    assert setup.record["owner_uid"] is None

    setup.change(suspend=False)
    steps.await_start(setup)
    setup.change(suspend=True)
    status = setup.reached_reason("Suspended")
    assert (status["phase"], status["attempt"], status["projectStatus"]) == ("Suspended", 0, "setup_queued")
    assert not {"runRef", "failure", "startedAt", "step", "progress"} & status.keys()
    assert status["attempts"] == []
    record = setup.record
    assert (record["status"], record["setup_error"], record["attempt"]) == ("setup_queued", None, 0)

    steps.release()
    setup.change(suspend=False)
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)
    assert steps.attempts == [1, 1]
