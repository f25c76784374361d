"""A setup from queued to its end: `.status`, the record and the events at each point."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import Body
from tests.support.operator_sandbox import NO_BACKOFF, Sandbox, message, reason
from tests.support.setup_handle import Setup, Steps, condition

LATER = {"backoff": "1h"}
CODE, DOCS = "c0de" * 10, "d0c5" * 16
PROMISED = {  # status of Ready, Reconciling and Stalled, by phase
    "Queued": ("False", "True", "False"),
    "Running": ("False", "True", "False"),
    "BackingOff": ("False", "True", "False"),
    "Suspended": ("False", "False", "False"),
    "Succeeded": ("True", "False", "False"),
    "Failed": ("False", "False", "True"),
    "Cancelled": ("False", "False", "True"),
}


def kstatus_conditions(status: Body) -> tuple[str, ...]:
    return tuple(condition(status, kind)["status"] for kind in ("Ready", "Reconciling", "Stalled"))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_setup_that_succeeds(sandbox: Sandbox) -> None:
    script = f'echo CODE_COMMIT={CODE} >> "$STEP_OUTPUTS"; echo DOCS_COMMIT={DOCS} >> "$STEP_OUTPUTS"'
    setup = Setup.make(sandbox, "scripts", third=script)
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
    assert (record["owner_namespace"], record["owner_name"]) == (sandbox.api.namespace, setup.name)
    setup.wait_for_events("Started", "Succeeded")


def test_a_retryable_failure_uses_up_all_attempts(sandbox: Sandbox) -> None:
    script = "echo once more; exit 42"
    setup = Setup.make(sandbox, "scripts", second=script, annotations={**NO_BACKOFF, "max_attempts": "2"})
    why, status = setup.ended()
    assert (why, status["phase"]) == ("AttemptsExhausted", "Failed")
    assert (status["attempt"], status["maxAttempts"]) == (2, 2)
    failure = status["failure"]
    assert (failure["reason"], failure["exitCode"], failure["retryable"]) == ("StepTransient", 42, True)
    assert failure["message"].endswith("once more")
    assert [(attempt["number"], attempt["reason"]) for attempt in status["attempts"]] == [
        (1, "StepTransient"),
        (2, "StepTransient"),
    ]
    record = setup.record
    assert (record["status"], record["setup_error"]["reason"]) == ("failed", "AttemptsExhausted")
    assert record["setup_error"]["step"] == "second"
    setup.wait_for_events("Started", "RetryScheduled", "Started", "Failed")


def test_progress_is_reported_during_an_attempt(sandbox: Sandbox, steps: Steps) -> None:
    place = steps.folder
    wait = 'until [ -e "$PARAM_PLACE/go" ]; do sleep 0.05; done'
    setup = Setup.make(sandbox, "scripts", second=wait, third="exit 1", place=str(place))
    status = setup.wait_for("at its second step", lambda status: status.get("step") == "second")
    assert (status["phase"], status["projectStatus"], status["progress"]) == ("Running", "compiling", "1/3")
    assert status["runRef"]["engine"] == "local"
    assert status["startedAt"]
    assert setup.record["status"] == "compiling"
    steps.release()
    _, status = setup.ended()
    assert (status["step"], status["progress"]) == ("third", "2/3")


def test_conditions_of_every_phase_are_those_of_kstatus(sandbox: Sandbox, steps: Steps) -> None:
    setup = Setup.make(sandbox, "gated", place=str(steps.folder), spec={"suspend": True})
    seen = {"Suspended": setup.reached("Suspended")}
    setup.change(suspend=False)
    seen["Running"] = setup.reached("Running")
    setup.annotate(cancel_requested_at="1")
    seen["Cancelled"] = setup.reached("Cancelled")
    seen["BackingOff"] = Setup.make(sandbox, "scripts", first="exit 75", annotations=LATER).reached("BackingOff")
    seen["Succeeded"] = Setup.make(sandbox).reached("Succeeded")
    seen["Failed"] = Setup.make(sandbox, "scripts", first="exit 1").reached("Failed")
    for phase, status in seen.items():
        assert kstatus_conditions(status) == PROMISED[phase], phase
        assert [c["type"] for c in status["conditions"]] == ["Succeeded", "Ready", "Reconciling", "Stalled"]
        assert {c["observedGeneration"] for c in status["conditions"]} == {status["observedGeneration"]}
        assert condition(status, "Succeeded")["lastTransitionTime"]


def test_the_generation_is_observed_on_every_path(sandbox: Sandbox, steps: Steps) -> None:
    running = Setup.gated(sandbox, steps)
    steps.await_start(running)
    waiting = Setup.make(sandbox, "scripts", first="exit 75", annotations=LATER)
    waiting.reached("BackingOff")
    ended = [Setup.make(sandbox), Setup.make(sandbox, "scripts", first="exit 1"), Setup.make(sandbox, "broken")]
    suspended = Setup.make(sandbox, spec={"suspend": True})
    suspended.reached("Suspended")
    for setup in ended:
        setup.ended()
    for setup in (running, waiting, *ended, suspended):
        before = setup.status
        setup.change(timeout="59m")
        after = setup.wait_for("at generation 2", lambda status: status["observedGeneration"] == 2)
        assert after["phase"] == before["phase"]
        assert {c["observedGeneration"] for c in after["conditions"]} == {2}
        transitions = [c["lastTransitionTime"] for c in after["conditions"]]
        assert transitions == [c["lastTransitionTime"] for c in before["conditions"]]


def test_messages_hold_no_secrets_and_are_cut(sandbox: Sandbox) -> None:
    token = "ghp_" + "a1B2" * 9
    script = (
        f"echo cloning https://user:{token}@git.example/x; echo API_TOKEN={token}; "
        'printf "%01500d\\n" 7; echo the end; exit 1'
    )
    setup = Setup.make(sandbox, "scripts", first=script)
    _, status = setup.ended()
    texts = [message(status), status["failure"]["message"], status["attempts"][0]["message"]]
    texts += [setup.record["setup_error"]["message"], condition(status, "Stalled")["message"]]
    setup.wait_for_events("Started", "Failed")
    texts += setup.notes("Failed")
    for text in texts:
        assert token not in text
        assert "step first failed with exit code 1" in text
        assert len(text) <= 1024
    assert texts[0].endswith("the end")
    everything = sandbox.published_texts()
    del everything["resources"], everything["events"]  # they hold the script, as a parameter
    assert not [place for place, text in everything.items() if token in text]


def once(script: str) -> str:
    """A script for the first attempt; later ones succeed."""
    return f'test "$ATTEMPT" = 1 || exit 0\n{script}'


def run(
    sandbox: Sandbox, recipe: str = "scripts", *, timeout: str = "30m", **parameters: str
) -> tuple[Setup, dict[str, Any]]:
    """A setup that has ended with these scripts, and its status."""
    setup = Setup.make(sandbox, recipe, annotations=NO_BACKOFF, spec={"timeout": timeout}, parameters=parameters)
    return setup, setup.ended()[1]


@pytest.mark.parametrize(
    ("script", "exit_code"),
    [("exit 74", 74), ("no-such-program", 127)],
)
def test_a_business_failure_is_terminal_at_once(sandbox: Sandbox, tmp_path: Path, script: str, exit_code: int) -> None:
    setup, status = run(sandbox, second=script, third='touch "$PARAM_PLACE/went-on"', place=str(tmp_path))
    assert (status["phase"], reason(status), status["attempt"]) == ("Failed", "StepFailed", 1)
    failure = status["failure"]
    assert (failure["step"], failure["exitCode"], failure["retryable"]) == ("second", exit_code, False)
    assert (status["step"], status["progress"]) == ("second", "1/3")
    record = setup.record
    assert record["status"] == "failed"
    assert record["setup_error"] == {"reason": "StepFailed", "step": "second", "message": message(status)}
    assert not (tmp_path / "went-on").exists()
    setup.wait_for_events("Started", "Failed")


@pytest.mark.parametrize(
    ("script", "why", "how"),
    [
        ("exit 75", "StepTransient", "exit code 75"),
        (
            "echo 'fetch: Connection reset by peer' >&2; exit 3",
            "StepTransient",
            "it printed 'fetch: Connection reset by peer'",
        ),
        ("kill -KILL $$", "StepKilled", "killed by SIGKILL"),
    ],
)
def test_a_retryable_failure_is_retried(sandbox: Sandbox, script: str, why: str, how: str) -> None:
    setup, status = run(sandbox, second=once(script))
    assert (status["phase"], reason(status), status["attempt"]) == ("Succeeded", "SetupSucceeded", 2)
    first, second = status["attempts"]
    assert (first["outcome"], first["reason"], first["step"]) == ("Failed", why, "second")
    assert how in first["message"]
    assert second["outcome"] == "Succeeded"
    assert "failure" not in status
    assert (setup.record["status"], setup.record["setup_error"]) == ("ready", None)
    setup.wait_for_events("Started", "RetryScheduled", "Started", "Succeeded")


def test_a_retry_pattern_applies_only_to_its_step(sandbox: Sandbox) -> None:
    _, status = run(sandbox, second="echo Connection reset", third="exit 1")
    assert (reason(status), status["attempt"]) == ("StepFailed", 1)


def test_an_attempt_that_takes_too_long_is_stopped_and_retried(sandbox: Sandbox) -> None:
    _, status = run(sandbox, timeout="700ms", first="sleep 0.1", third=once("sleep 600"))
    assert (reason(status), status["attempt"]) == ("SetupSucceeded", 2)
    assert status["attempts"][0]["reason"] == "StepTimedOut"
    expected = "the attempt timed out after 700ms, during step third; it printed nothing"
    assert status["attempts"][0]["message"] == expected


def test_the_message_is_short_and_readable_for_any_output(sandbox: Sandbox) -> None:
    binary, endless = "head -c 3000000 /dev/urandom", "yes long | head -c 3000000 | tr -d '\\n'"
    colours = "printf '\\n\\033[31mred\\033[0m\\0end\\n'"
    setup, status = run(sandbox, first=f"{binary}; {endless}; {colours}; exit 1")
    assert reason(status) == "StepFailed"
    for text in (message(status), status["failure"]["message"], setup.record["setup_error"]["message"]):
        assert len(text) <= 1024
        assert text.isprintable()
        assert text.endswith("redend")
