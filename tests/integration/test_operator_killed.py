"""The operator is killed, and another one takes up what it left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aftermath import ENDS, Aftermath
from tests.support.operator_process import wait_for
from tests.support.operator_stage import Stage, message
from tests.support.setup_handle import Setup


@pytest.fixture(scope="module")
def aftermath(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """After the kill and another start."""
    aftermath = Aftermath(stage, tmp_path_factory.mktemp("aftermath"))
    stage.operator.kill()
    assert aftermath.interrupted.status["phase"] == "Running"
    aftermath.happen()
    stage.operator.start()
    yield aftermath
    aftermath.close()


def test_an_attempt_found_running_is_interrupted_and_retried(aftermath: Aftermath) -> None:
    setup, steps = aftermath.interrupted, aftermath.steps("interrupted")
    status = setup.reached("BackingOff")
    assert (status["attempt"], status["failure"]["reason"], status["failure"]["retryable"]) == (1, "Interrupted", True)
    (attempt,) = status["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["reason"]) == (1, "Failed", "Interrupted")
    assert (setup.record["status"], setup.record["attempt"]) == ("setup_queued", 1)
    steps.let_go()
    setup.annotate(retry_requested_at="now")
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 2)
    assert steps.attempts == [1, 2]
    setup.has_events("Started", "RetryScheduled", "RetryCoalesced", "Started", "Succeeded")


@pytest.mark.parametrize("phase", ENDS)
def test_an_end_that_only_the_record_knows_is_completed(aftermath: Aftermath, phase: str) -> None:
    setup, end = aftermath.ended[phase], ENDS[phase]
    status = setup.reached(phase)
    assert (status["attempt"], status["projectStatus"]) == (1, str(end.project_status))
    assert "runRef" not in status
    (attempt,) = status["attempts"]
    assert attempt["finishedAt"] == "2026-01-02T03:04:05Z"
    assert status.get("finishedAt") == (None if phase == "BackingOff" else "2026-01-02T03:04:05Z")
    assert status.get("nextAttemptAt") == ("2222-01-01T00:00:00Z" if phase == "BackingOff" else None)
    if end.failure is not None:
        assert status["failure"]["message"] == end.failure.message
        assert attempt["reason"] == end.failure.reason
    assert message(status) == end.message
    Setup.make(aftermath.stage).ended()
    assert setup.record == aftermath.records[phase]
    assert aftermath.steps(phase).attempts == [1]
    setup.has_events("Started", "RetryScheduled" if phase == "BackingOff" else phase)


def test_an_attempt_that_only_the_record_knows_as_given_back_is_given_back(aftermath: Aftermath) -> None:
    why, status = aftermath.returned.ended()
    assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert aftermath.steps("returned").attempts == [1, 1]


def test_a_success_is_never_repeated_though_nothing_of_it_is_told(aftermath: Aftermath) -> None:
    assert aftermath.untold.ended()[0] == "SetupSucceeded"
    assert aftermath.steps("untold").attempts == [1]


def test_a_claim_without_a_status_burns_no_attempt(aftermath: Aftermath) -> None:
    why, status = aftermath.claimed.ended()
    assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert aftermath.steps("claimed").attempts == [1]


def test_a_delay_outlives_the_operator(aftermath: Aftermath) -> None:
    setup = aftermath.delayed
    Setup.make(aftermath.stage).ended()  # it starts after all others were looked at
    assert setup.status == aftermath.delay
    soon = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    setup.api.patch_status(setup.name, {"nextAttemptAt": soon})
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 2)


def test_what_was_deleted_meanwhile_is_freed(aftermath: Aftermath) -> None:
    setup, steps = aftermath.deleted, aftermath.steps("deleted")
    wait_for(lambda: setup.record["owner_uid"] is None, "its project to be free")
    assert setup.record["status"] == "created"
    steps.let_go()
    assert Setup.gated(aftermath.stage, steps, project=setup.name).ended()[0] == "SetupSucceeded"


def test_what_was_asked_for_meanwhile_is_done(aftermath: Aftermath) -> None:
    assert aftermath.retried.until_over_again("1")[0] == "SetupSucceeded"
    assert aftermath.cancelled_late.ended()[0] == "Cancelled"
    assert aftermath.cancelled.ended()[0] == "Cancelled"
    assert aftermath.steps("cancelled").attempts == [1]
