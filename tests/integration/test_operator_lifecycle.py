"""How a setup goes, from queued to its end: what `.status`, the record and the events tell at each point."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.support.api_server import Body
from tests.support.operator_stage import Stage, message
from tests.support.setup_handle import Setup, Steps, condition

SOON = {"backoff": "1ms"}
LATER = {"backoff": "1h"}
CODE, DOCS = "c0de" * 10, "d0c5" * 10
PROMISED = {  # status of Ready, Reconciling and Stalled, by phase
    "Queued": ("False", "True", "False"),
    "Running": ("False", "True", "False"),
    "BackingOff": ("False", "True", "False"),
    "Suspended": ("False", "False", "False"),
    "Succeeded": ("True", "False", "False"),
    "Failed": ("False", "False", "True"),
    "Cancelled": ("False", "False", "True"),
}


def told(status: Body) -> tuple[str, ...]:
    return tuple(condition(status, kind)["status"] for kind in ("Ready", "Reconciling", "Stalled"))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_setup_that_succeeds(stage: Stage) -> None:
    script = f'echo CODE_COMMIT={CODE} >> "$STEP_OUTPUTS"; echo DOCS_COMMIT={DOCS} >> "$STEP_OUTPUTS"'
    setup = Setup.make(stage, "scripts", third=script)
    why, status = setup.ended()
    assert (why, status["phase"], status["projectStatus"]) == ("SetupSucceeded", "Succeeded", "ready")
    assert (status["attempt"], status["maxAttempts"], status["progress"]) == (1, 3, "3/3")
    assert status["commits"] == {"codeRepo": CODE, "docsRepo": DOCS}
    assert status["observedGeneration"] == 1
    assert not {"failure", "runRef", "nextAttemptAt", "step"} & status.keys()
    (attempt,) = status["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["reason"]) == (1, "Succeeded", "SetupSucceeded")
    times = [status["queuedAt"], status["startedAt"], status["finishedAt"]]
    assert sorted(times, key=moment) == times
    assert all(time.endswith("Z") for time in times)
    record = setup.record
    assert (record["status"], record["setup_error"], record["attempt"]) == ("ready", None, 1)
    assert (record["owner_namespace"], record["owner_name"]) == (stage.api.namespace, setup.name)
    setup.has_events("Started", "Succeeded")


def test_a_step_that_says_no_ends_it_at_the_first_attempt(stage: Stage) -> None:
    setup = Setup.make(stage, "scripts", second="echo compiler says no; exit 3", third="false")
    why, status = setup.ended()
    assert (why, status["phase"], status["projectStatus"], status["attempt"]) == ("StepFailed", "Failed", "failed", 1)
    text = "step second failed with exit code 3: compiler says no"
    told_failure = {"reason": "StepFailed", "message": text, "step": "second", "exitCode": 3, "retryable": False}
    assert status["failure"] == told_failure
    assert message(status) == text
    (attempt,) = status["attempts"]
    assert (attempt["outcome"], attempt["reason"], attempt["step"]) == ("Failed", "StepFailed", "second")
    record = setup.record
    assert (record["status"], record["attempt"]) == ("failed", 1)
    assert record["setup_error"] == {"reason": "StepFailed", "step": "second", "message": text}
    assert not {"nextAttemptAt", "runRef"} & status.keys()
    setup.has_events("Started", "Failed")


def test_a_failure_that_may_pass_is_retried(stage: Stage) -> None:
    script = '[ "$ATTEMPT" -ge 3 ] || { echo try again; exit 75; }'
    setup = Setup.make(stage, "scripts", first=script, annotations=SOON)
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 3)
    assert [(a["number"], a["outcome"], a["reason"]) for a in status["attempts"]] == [
        (1, "Failed", "StepTransient"),
        (2, "Failed", "StepTransient"),
        (3, "Succeeded", "SetupSucceeded"),
    ]
    assert "failure" not in status
    setup.has_events("Started", "RetryScheduled", "Started", "RetryScheduled", "Started", "Succeeded")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 75", "StepTransient"),
        ("exit 42", "StepTransient"),
        ("echo Connection reset by peer; exit 1", "StepTransient"),
        ("kill -KILL $$", "StepKilled"),
    ],
)
def test_what_is_retried_until_no_attempt_is_left(stage: Stage, script: str, why: str) -> None:
    setup = Setup.make(stage, "scripts", second=script, annotations={**SOON, "max_attempts": "2"})
    reason, status = setup.ended()
    assert (reason, status["phase"]) == ("AttemptsExhausted", "Failed")
    assert (status["attempt"], status["maxAttempts"]) == (2, 2)
    assert (status["failure"]["reason"], status["failure"]["retryable"]) == (why, True)
    assert [attempt["reason"] for attempt in status["attempts"]] == [why, why]
    record = setup.record
    assert (record["status"], record["setup_error"]["reason"]) == ("failed", "AttemptsExhausted")
    assert record["setup_error"]["step"] == "second"
    setup.has_events("Started", "RetryScheduled", "Started", "Failed")


def test_a_single_attempt_can_be_asked_for(stage: Stage) -> None:
    setup = Setup.make(stage, "scripts", first="exit 75", annotations={"max_attempts": "1"})
    why, status = setup.ended()
    assert (why, status["attempt"], status["maxAttempts"]) == ("AttemptsExhausted", 1, 1)


def test_an_attempt_has_its_timeout(stage: Stage, steps: Steps) -> None:
    setup = Setup.gated(stage, steps, spec={"timeout": "500ms"}, annotations=LATER)
    status = setup.waits_for("RetryScheduled")
    assert status["failure"]["reason"] == "StepTimedOut"
    assert "timed out after 500ms" in status["failure"]["message"]


def test_while_it_backs_off(stage: Stage) -> None:
    setup = Setup.make(stage, "scripts", second="echo not now; exit 75", annotations=LATER)
    status = setup.reached("BackingOff")
    assert (condition(status, "Succeeded")["reason"], status["attempt"]) == ("RetryScheduled", 1)
    assert "runRef" not in status
    assert "finishedAt" not in status
    assert "not now" in message(status)
    assert status["failure"]["retryable"]
    record = setup.record
    assert (record["status"], record["setup_error"], record["attempt"]) == ("setup_queued", None, 1)
    assert status["projectStatus"] == "setup_queued"


def test_delays_grow_to_their_cap_with_a_little_jitter(stage: Stage) -> None:
    setup = Setup.make(
        stage, "scripts", first="exit 75", annotations={"backoff": "100s", "backoff_max": "250s", "max_attempts": "9"}
    )
    for number, delay in enumerate((100, 200, 250, 250), start=1):
        status = setup.backs_off_after(number)
        given = moment(status["nextAttemptAt"]) - moment(status["attempts"][-1]["finishedAt"])
        assert delay <= given.total_seconds() <= delay * 1.1 + 2
        setup.annotate(retry_requested_at=str(number))  # the next attempt is due now
    setup.annotate(cancel_requested_at="enough")


def test_progress_is_told_while_it_runs(stage: Stage, steps: Steps) -> None:
    place = steps.folder
    wait = 'until [ -e "$PARAM_PLACE/go" ]; do sleep 0.05; done'
    setup = Setup.make(stage, "scripts", second=wait, third="exit 1", place=str(place))
    status = setup.until("at its second step", lambda status: status.get("step") == "second")
    assert (status["phase"], status["projectStatus"], status["progress"]) == ("Running", "compiling", "1/3")
    assert status["runRef"]["engine"] == "local"
    assert status["startedAt"]
    assert setup.record["status"] == "compiling"
    steps.let_go()
    _, status = setup.ended()
    assert (status["step"], status["progress"]) == ("third", "2/3")


def test_conditions_of_every_phase_are_those_of_kstatus(stage: Stage, steps: Steps) -> None:
    setup = Setup.make(stage, "gated", place=str(steps.folder), spec={"suspend": True})
    seen = {"Suspended": setup.reached("Suspended")}
    setup.change(suspend=False)
    seen["Running"] = setup.reached("Running")
    setup.annotate(cancel_requested_at="1")
    seen["Cancelled"] = setup.reached("Cancelled")
    seen["BackingOff"] = Setup.make(stage, "scripts", first="exit 75", annotations=LATER).reached("BackingOff")
    seen["Succeeded"] = Setup.make(stage).reached("Succeeded")
    seen["Failed"] = Setup.make(stage, "scripts", first="exit 1").reached("Failed")
    for phase, status in seen.items():
        assert told(status) == PROMISED[phase], phase
        assert [c["type"] for c in status["conditions"]] == ["Succeeded", "Ready", "Reconciling", "Stalled"]
        assert {c["observedGeneration"] for c in status["conditions"]} == {status["observedGeneration"]}
        assert condition(status, "Succeeded")["lastTransitionTime"]


def test_the_generation_is_observed_on_every_path(stage: Stage, steps: Steps) -> None:
    running = Setup.gated(stage, steps)
    steps.await_start(running)
    waiting = Setup.make(stage, "scripts", first="exit 75", annotations=LATER)
    waiting.reached("BackingOff")
    ended = [Setup.make(stage), Setup.make(stage, "scripts", first="exit 1"), Setup.make(stage, "broken")]
    suspended = Setup.make(stage, spec={"suspend": True})
    suspended.reached("Suspended")
    for setup in ended:
        setup.ended()
    for setup in (running, waiting, *ended, suspended):
        before = setup.status
        setup.change(timeout="59m")
        after = setup.until("told of generation 2", lambda status: status["observedGeneration"] == 2)
        assert after["phase"] == before["phase"]
        assert {c["observedGeneration"] for c in after["conditions"]} == {2}
        transitions = [c["lastTransitionTime"] for c in after["conditions"]]
        assert transitions == [c["lastTransitionTime"] for c in before["conditions"]]


def test_the_last_ten_attempts_are_kept(stage: Stage) -> None:
    setup = Setup.make(stage, "scripts", first="exit 1", spec={"suspend": True})
    setup.reached("Suspended")
    time = "2026-01-01T00:00:00Z"
    earlier = [
        {"number": number, "startedAt": time, "finishedAt": time, "outcome": "Failed", "reason": "Old", "message": ""}
        for number in range(1, 11)
    ]
    setup.api.patch_status(setup.name, {"attempts": earlier})
    setup.change(suspend=False)
    _, status = setup.ended()
    assert [(a["number"], a["reason"]) for a in status["attempts"]] == [
        *((number, "Old") for number in range(2, 11)),
        (1, "StepFailed"),
    ]


def test_messages_hold_no_secrets_and_are_cut(stage: Stage) -> None:
    token = "ghp_" + "a1B2" * 9
    script = (
        f"echo cloning https://user:{token}@git.example/x; echo API_TOKEN={token}; "
        'printf "%01500d\\n" 7; echo the end; exit 1'
    )
    setup = Setup.make(stage, "scripts", first=script)
    _, status = setup.ended()
    texts = [message(status), status["failure"]["message"], status["attempts"][0]["message"]]
    texts += [setup.record["setup_error"]["message"], condition(status, "Stalled")["message"]]
    setup.has_events("Started", "Failed")
    texts += setup.notes("Failed")
    for text in texts:
        assert token not in text
        assert "step first failed with exit code 1" in text
        assert len(text) <= 1024
    assert texts[0].endswith("the end")
    everything = stage.everything_told()
    del everything["resources"], everything["events"]  # they hold the script itself, as a parameter
    assert not [place for place, text in everything.items() if token in text]
