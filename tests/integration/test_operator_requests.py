"""Requests of users: cancel, manual retry, both at once, suspend and resume."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import Sandbox, message
from tests.support.setup_handle import Setup, Steps

Make = Callable[[Sandbox, Steps], Setup]

LATER = {"backoff": "1h"}


def suspended(sandbox: Sandbox, steps: Steps) -> Setup:
    setup = Setup.gated(sandbox, steps, spec={"suspend": True})
    setup.reached("Suspended")
    return setup


def backing_off(sandbox: Sandbox, _: Steps) -> Setup:
    setup = Setup.make(sandbox, "scripts", first='[ "$ATTEMPT" -gt 1 ] || exit 75', annotations=LATER)
    setup.reached("BackingOff")
    return setup


def running(sandbox: Sandbox, steps: Steps) -> Setup:
    setup = Setup.gated(sandbox, steps)
    steps.await_start(setup)
    return setup


@pytest.mark.parametrize("make", [suspended, backing_off, running])
def test_cancel_ends_an_unfinished_setup(sandbox: Sandbox, steps: Steps, make: Make) -> None:
    setup = make(sandbox, steps)
    before = setup.status
    setup.annotate(cancel_requested_at="2026-11-24T12:00:00Z")
    why, status = setup.ended()
    assert (why, status["phase"], status["projectStatus"]) == ("Cancelled", "Cancelled", "failed")
    assert status["lastHandledCancel"] == "2026-11-24T12:00:00Z"
    assert status["attempt"] == before["attempt"]
    assert status["finishedAt"]
    assert not {"runRef", "nextAttemptAt"} & status.keys()
    record = setup.record
    assert (record["status"], record["setup_error"]["reason"]) == ("failed", "Cancelled")
    assert record["setup_error"]["message"] == message(status)
    wait_for(lambda: "Cancelled" in setup.events, "the event of the cancel")
    assert setup.events.count("Cancelled") == 1
    assert setup.events[-1] == "Cancelled"


def test_cancel_after_the_end_is_ignored(sandbox: Sandbox) -> None:
    setup = Setup.make(sandbox, "scripts", first="exit 1")
    _, before = setup.ended()
    setup.annotate(cancel_requested_at="1")
    status = setup.wait_for("past the cancel", lambda status: status.get("lastHandledCancel") == "1")
    assert status == {**before, "lastHandledCancel": "1"}
    setup.wait_for_events("Started", "Failed", "CancelIgnored")


def test_a_retry_after_a_failure_begins_a_new_series(sandbox: Sandbox, steps: Steps) -> None:
    script = '[ -e "$PARAM_PLACE/go" ] || exit 75'
    setup = Setup.make(sandbox, "scripts", first=script, place=str(steps.folder), annotations={"max_attempts": "1"})
    why, before = setup.ended()
    assert why == "AttemptsExhausted"
    steps.release()
    setup.annotate(retry_requested_at="2026-11-24T12:00:00Z")
    why, status = setup.ended_after_retry("2026-11-24T12:00:00Z")
    assert (why, status["attempt"], status["projectStatus"]) == ("SetupSucceeded", 1, "ready")
    assert status["queuedAt"] >= before["finishedAt"]
    assert [(a["number"], a["outcome"]) for a in status["attempts"]] == [(1, "Failed"), (1, "Succeeded")]
    assert (setup.record["status"], setup.record["setup_error"]) == ("ready", None)
    setup.wait_for_events("Started", "Failed", "RetryRequested", "Started", "Succeeded")


def test_a_retry_after_a_cancel_begins_a_new_series(sandbox: Sandbox, steps: Steps) -> None:
    setup = running(sandbox, steps)
    setup.annotate(cancel_requested_at="1")
    setup.ended()
    setup.annotate(retry_requested_at="1")
    setup.reached("Running")
    steps.release()
    why, status = setup.ended()
    assert (why, status["attempt"], status["lastHandledCancel"]) == ("SetupSucceeded", 1, "1")
    assert [(a["number"], a["outcome"]) for a in status["attempts"]] == [(1, "Cancelled"), (1, "Succeeded")]
    assert steps.attempts == [1, 1]


def test_a_retry_while_it_runs_is_coalesced(sandbox: Sandbox, steps: Steps) -> None:
    setup = running(sandbox, steps)
    setup.annotate(retry_requested_at="1")
    status = setup.wait_for("past the retry", lambda status: status.get("lastHandledRetry") == "1")
    assert (status["phase"], status["attempt"]) == ("Running", 1)
    steps.release()
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)
    assert steps.attempts == [1]
    setup.wait_for_events("Started", "RetryCoalesced", "Succeeded")


def test_cancel_and_retry_together_cancel_wins(sandbox: Sandbox, steps: Steps) -> None:
    setup = running(sandbox, steps)
    setup.annotate(cancel_requested_at="c", retry_requested_at="r")
    why, status = setup.ended()
    assert (why, status["lastHandledCancel"], status["lastHandledRetry"]) == ("Cancelled", "c", "r")
    setup.wait_for_events("Started", "Cancelled", "RetryIgnored")


def test_a_request_token_that_looks_like_a_secret_is_handled_once(sandbox: Sandbox) -> None:
    setup = Setup.make(sandbox, "scripts", first="exit 1")
    setup.ended()
    value = "token=2026-11-24T12:00:00Z"
    setup.annotate(retry_requested_at=value)
    why, _ = setup.ended_after_retry(value)
    assert why == "StepFailed"
    setup.wait_for_events("Started", "Failed", "RetryRequested", "Started", "Failed")


def test_a_last_step_that_succeeds_despite_a_cancel_is_a_success(sandbox: Sandbox, steps: Steps) -> None:
    script = 'trap "exit 0" TERM; echo "$PROJECT_ID $ATTEMPT" >> "$PARAM_PLACE/started"; while :; do sleep 0.05; done'
    setup = Setup.make(sandbox, "scripts", third=script, place=str(steps.folder))
    steps.await_start(setup)
    setup.annotate(cancel_requested_at="1")
    why, status = setup.ended()
    assert (why, status["projectStatus"], status["lastHandledCancel"]) == ("SetupSucceeded", "ready", "1")
    assert setup.record["status"] == "ready"
    setup.wait_for_events("Started", "Succeeded", "CancelIgnored")


def test_a_suspended_setup_starts_only_after_resume(sandbox: Sandbox, steps: Steps) -> None:
    setup = Setup.gated(sandbox, steps, spec={"suspend": True})
    status = setup.reached_reason("Suspended")
    assert (status["phase"], status["attempt"]) == ("Suspended", 0)
    later = Setup.make(sandbox)
    later.ended()
    assert steps.started == []
    assert setup.record["owner_uid"] is None
    steps.release()
    setup.change(suspend=False)
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)


def test_a_suspended_attempt_is_stopped_and_released(sandbox: Sandbox, steps: Steps) -> None:
    setup = Setup.gated(sandbox, steps)
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


def test_backoff_continues_after_a_suspension(sandbox: Sandbox) -> None:
    setup = Setup.make(sandbox, "scripts", first="echo not now; exit 75", annotations=LATER)
    before = setup.reached("BackingOff")
    setup.change(suspend=True)
    setup.reached("Suspended")
    setup.change(suspend=False)
    after = setup.reached("BackingOff")
    assert (after["nextAttemptAt"], after["attempt"]) == (before["nextAttemptAt"], 1)
    times = {"lastTransitionTime": None, "observedGeneration": None}
    conditions = [[{**condition, **times} for condition in status["conditions"]] for status in (before, after)]
    assert conditions[0] == conditions[1]
