"""Suspending and going on, in every phase."""

from __future__ import annotations

from tests.support.operator_process import wait_for
from tests.support.operator_stage import Stage
from tests.support.setup_handle import Setup, Steps

LATER = {"backoff": "1h"}


def test_a_suspended_setup_does_not_start_until_it_may(stage: Stage, steps: Steps) -> None:
    setup = Setup.gated(stage, steps, spec={"suspend": True})
    status = setup.waits_for("Suspended")
    assert (status["phase"], status["attempt"]) == ("Suspended", 0)
    later = Setup.make(stage)
    later.ended()
    assert steps.started == []
    assert setup.record["owner_uid"] is None
    steps.let_go()
    setup.change(suspend=False)
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)


def test_a_running_attempt_is_stopped_and_given_back(stage: Stage, steps: Steps) -> None:
    setup = Setup.gated(stage, steps)
    steps.await_start(setup)
    setup.change(suspend=True)
    status = setup.waits_for("Suspended")
    assert (status["phase"], status["attempt"], status["projectStatus"]) == ("Suspended", 0, "setup_queued")
    assert not {"runRef", "failure", "startedAt", "step", "progress"} & status.keys()
    assert status["attempts"] == []
    record = setup.record
    assert (record["status"], record["setup_error"], record["attempt"]) == ("setup_queued", None, 0)
    steps.let_go()
    setup.change(suspend=False)
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)
    assert steps.attempts == [1, 1]


def test_the_second_attempt_is_given_back_too(stage: Stage, steps: Steps) -> None:
    script = '[ "$ATTEMPT" -gt 1 ] || exit 75; touch "$PARAM_PLACE/second"; sleep 60'
    setup = Setup.make(stage, "scripts", first=script, place=str(steps.folder), annotations={"backoff": "1ms"})
    wait_for((steps.folder / "second").exists, "the second attempt")
    setup.change(suspend=True)
    status = setup.waits_for("Suspended")
    assert (status["attempt"], [a["number"] for a in status["attempts"]]) == (1, [1])
    assert setup.record["attempt"] == 1


def test_backing_off_goes_on_after_a_suspension(stage: Stage) -> None:
    setup = Setup.make(stage, "scripts", first="echo not now; exit 75", annotations=LATER)
    before = setup.reached("BackingOff")
    setup.change(suspend=True)
    setup.reached("Suspended")
    setup.change(suspend=False)
    after = setup.reached("BackingOff")
    assert (after["nextAttemptAt"], after["attempt"]) == (before["nextAttemptAt"], 1)
    times = {"lastTransitionTime": None, "observedGeneration": None}
    told = [[{**condition, **times} for condition in status["conditions"]] for status in (before, after)]
    assert told[0] == told[1]


def test_a_setup_that_is_over_is_not_touched_by_suspend(stage: Stage) -> None:
    setup = Setup.make(stage)
    _, before = setup.ended()
    setup.change(suspend=True)
    after = setup.until("told of generation 2", lambda status: status["observedGeneration"] == 2)
    assert (after["phase"], after["finishedAt"]) == ("Succeeded", before["finishedAt"])
