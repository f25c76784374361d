"""Cancel and manual retry, in every phase, and both at once; each leaves its event."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_stage import Stage, message, reason
from tests.support.setup_handle import Setup, Steps

Make = Callable[[Stage, Steps], Setup]

LATER = {"backoff": "1h"}


def suspended(stage: Stage, steps: Steps) -> Setup:
    setup = Setup.gated(stage, steps, spec={"suspend": True})
    setup.reached("Suspended")
    return setup


def backing_off(stage: Stage, _: Steps) -> Setup:
    setup = Setup.make(stage, "scripts", first='[ "$ATTEMPT" -gt 1 ] || exit 75', annotations=LATER)
    setup.reached("BackingOff")
    return setup


def running(stage: Stage, steps: Steps) -> Setup:
    setup = Setup.gated(stage, steps)
    steps.await_start(setup)
    return setup


@pytest.mark.parametrize("make", [suspended, backing_off, running])
def test_cancel_ends_what_is_not_over(stage: Stage, steps: Steps, make: Make) -> None:
    setup = make(stage, steps)
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


def test_a_cancelled_attempt_is_kept_as_such(stage: Stage, steps: Steps) -> None:
    setup = running(stage, steps)
    setup.annotate(cancel_requested_at="1")
    _, status = setup.ended()
    (attempt,) = status["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["reason"]) == (1, "Cancelled", "Cancelled")
    assert "failure" not in status
    setup.has_events("Started", "Cancelled")


def test_a_setup_made_to_be_cancelled_never_starts(stage: Stage, steps: Steps) -> None:
    setup = Setup.gated(stage, steps, annotations={"cancel_requested_at": "1"})
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("Cancelled", 0)
    assert status["attempts"] == []
    assert steps.started == []
    setup.has_events("Cancelled")


def test_cancel_after_the_end_is_ignored(stage: Stage) -> None:
    for script, why in ((":", "SetupSucceeded"), ("exit 1", "StepFailed")):
        setup = Setup.make(stage, "scripts", first=script)
        _, before = setup.ended()
        setup.annotate(cancel_requested_at="1")
        status = setup.until("told that the cancel was seen", lambda status: status.get("lastHandledCancel") == "1")
        assert reason(status) == why
        assert {**status, "lastHandledCancel": None} == {**before, "lastHandledCancel": None}
        setup.has_events("Started", "Succeeded" if why == "SetupSucceeded" else "Failed", "CancelIgnored")


def test_the_same_cancel_does_not_count_twice(stage: Stage, steps: Steps) -> None:
    setup = running(stage, steps)
    setup.annotate(cancel_requested_at="1")
    setup.ended()
    steps.let_go()
    setup.annotate(retry_requested_at="1")
    why, status = setup.until_over_again("1")
    assert (why, status["lastHandledCancel"]) == ("SetupSucceeded", "1")


@pytest.mark.parametrize("first", ["exit 1", "exit 75"])
def test_a_retry_after_a_failure_begins_a_new_series(stage: Stage, first: str, steps: Steps) -> None:
    script = f'[ -e "$PARAM_PLACE/go" ] || {first}'
    setup = Setup.make(stage, "scripts", first=script, place=str(steps.folder), annotations={"max_attempts": "1"})
    why, before = setup.ended()
    assert why in {"StepFailed", "AttemptsExhausted"}
    steps.let_go()
    setup.annotate(retry_requested_at="2026-11-24T12:00:00Z")
    why, status = setup.until_over_again("2026-11-24T12:00:00Z")
    assert (why, status["attempt"], status["projectStatus"]) == ("SetupSucceeded", 1, "ready")
    assert status["queuedAt"] >= before["finishedAt"]
    assert [(a["number"], a["outcome"]) for a in status["attempts"]] == [(1, "Failed"), (1, "Succeeded")]
    assert (setup.record["status"], setup.record["setup_error"]) == ("ready", None)
    setup.has_events("Started", "Failed", "RetryRequested", "Started", "Succeeded")


def test_a_retry_after_a_cancel_begins_a_new_series(stage: Stage, steps: Steps) -> None:
    setup = running(stage, steps)
    setup.annotate(cancel_requested_at="1")
    setup.ended()
    setup.annotate(retry_requested_at="1")
    setup.reached("Running")
    steps.let_go()
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)
    assert [a["outcome"] for a in status["attempts"]] == ["Cancelled", "Succeeded"]
    assert steps.attempts == [1, 1]


def test_a_retry_while_it_runs_is_coalesced(stage: Stage, steps: Steps) -> None:
    setup = running(stage, steps)
    setup.annotate(retry_requested_at="1")
    status = setup.until("told that the retry was seen", lambda status: status.get("lastHandledRetry") == "1")
    assert (status["phase"], status["attempt"]) == ("Running", 1)
    steps.let_go()
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)
    assert steps.attempts == [1]
    setup.has_events("Started", "RetryCoalesced", "Succeeded")


def test_a_retry_while_it_backs_off_makes_the_next_attempt_due(stage: Stage, steps: Steps) -> None:
    setup = backing_off(stage, steps)
    setup.annotate(retry_requested_at="1")
    why, status = setup.ended()
    assert (why, status["attempt"], status["lastHandledRetry"]) == ("SetupSucceeded", 2, "1")
    setup.has_events("Started", "RetryScheduled", "RetryCoalesced", "Started", "Succeeded")


def test_a_retry_after_success_is_ignored(stage: Stage, steps: Steps) -> None:
    steps.let_go()
    setup = Setup.gated(stage, steps)
    _, before = setup.ended()
    setup.annotate(retry_requested_at="1")
    status = setup.until("told that the retry was seen", lambda status: status.get("lastHandledRetry") == "1")
    assert {**status, "lastHandledRetry": None} == {**before, "lastHandledRetry": None}
    setup.has_events("Started", "Succeeded", "RetryIgnored")
    assert steps.attempts == [1]


@pytest.mark.parametrize(
    ("make", "before"),
    [(suspended, ()), (backing_off, ("Started", "RetryScheduled")), (running, ("Started",))],
)
def test_cancel_and_retry_together_cancel_wins(stage: Stage, steps: Steps, make: Make, before: tuple[str, ...]) -> None:
    setup = make(stage, steps)
    setup.annotate(cancel_requested_at="c", retry_requested_at="r")
    why, status = setup.ended()
    assert (why, status["lastHandledCancel"], status["lastHandledRetry"]) == ("Cancelled", "c", "r")
    setup.has_events(*before, "Cancelled", "RetryIgnored")


def test_cancel_and_retry_together_after_a_failure_change_nothing(stage: Stage) -> None:
    setup = Setup.make(stage, "scripts", first="exit 1")
    setup.ended()
    setup.annotate(cancel_requested_at="c", retry_requested_at="r")
    status = setup.until("told that both were seen", lambda status: status.get("lastHandledCancel") == "c")
    assert (reason(status), status["lastHandledRetry"]) == ("StepFailed", "r")
    setup.has_events("Started", "Failed", "CancelIgnored", "RetryIgnored")


def test_a_request_that_looks_like_a_secret_is_handled_once(stage: Stage) -> None:
    setup = Setup.make(stage, "scripts", first="exit 1")
    setup.ended()
    value = "token=2026-11-24T12:00:00Z"
    setup.annotate(retry_requested_at=value)
    why, _ = setup.until_over_again(value)
    assert why == "StepFailed"
    setup.has_events("Started", "Failed", "RetryRequested", "Started", "Failed")


def test_a_last_step_that_ends_well_in_spite_of_a_cancel_is_a_success(stage: Stage, steps: Steps) -> None:
    script = 'trap "exit 0" TERM; echo "$PROJECT_ID $ATTEMPT" >> "$PARAM_PLACE/started"; while :; do sleep 0.05; done'
    setup = Setup.make(stage, "scripts", third=script, place=str(steps.folder))
    steps.await_start(setup)
    setup.annotate(cancel_requested_at="1")
    why, status = setup.ended()
    assert (why, status["projectStatus"], status["lastHandledCancel"]) == ("SetupSucceeded", "ready", "1")
    assert setup.record["status"] == "ready"
    setup.has_events("Started", "Succeeded", "CancelIgnored")
