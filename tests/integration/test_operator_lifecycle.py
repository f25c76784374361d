"""A setup from queued to its end: `.status`, the record and the events at each point."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NO_BACKOFF, Sandbox, message
from tests.support.setup_handle import Setup, Steps, condition

LATER = {"backoff": "1h"}
CODE, DOCS = "c0de" * 10, "d0c5" * 16


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
    setup.wait_for_events("Succeeded")


def test_a_retryable_failure_uses_up_all_attempts_and_a_retry_begins_a_new_series(
    sandbox: Sandbox, steps: Steps
) -> None:
    script = 'echo once more; [ -e "$PARAM_PLACE/go" ] || exit 42'
    annotations = {**NO_BACKOFF, "max_attempts": "2"}
    setup = Setup.make(sandbox, "scripts", second=script, place=str(steps.folder), annotations=annotations)
    why, before = setup.ended()
    assert (why, before["phase"]) == ("AttemptsExhausted", "Failed")
    assert (before["attempt"], before["maxAttempts"]) == (2, 2)
    failure = before["failure"]
    assert (failure["reason"], failure["exitCode"], failure["retryable"]) == ("StepTransient", 42, True)
    assert failure["message"].endswith("once more")
    tried = [(1, "StepTransient"), (2, "StepTransient")]
    assert [(attempt["number"], attempt["reason"]) for attempt in before["attempts"]] == tried
    record = setup.record
    assert (record["status"], record["setup_error"]["reason"]) == ("failed", "AttemptsExhausted")
    assert record["setup_error"]["step"] == "second"
    setup.wait_for_events("RetryScheduled", "Failed")
    steps.release()
    setup.annotate(retry_requested_at="1")
    why, status = setup.ended_after_retry("1")
    assert (why, status["attempt"]) == ("SetupSucceeded", 1)
    assert status["queuedAt"] >= before["finishedAt"]
    tried.append((1, "SetupSucceeded"))
    assert [(attempt["number"], attempt["reason"]) for attempt in status["attempts"]] == tried


def test_a_business_failure_is_terminal_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    setup = Setup.make(sandbox, "scripts", second="exit 74", third='touch "$PARAM_PLACE/went-on"', place=str(tmp_path))
    why, status = setup.ended()
    assert (status["phase"], why, status["attempt"]) == ("Failed", "StepFailed", 1)
    failure = status["failure"]
    assert (failure["step"], failure["exitCode"], failure["retryable"]) == ("second", 74, False)
    assert (status["step"], status["progress"]) == ("second", "1/3")
    record = setup.record
    assert record["status"] == "failed"
    assert record["setup_error"] == {"reason": "StepFailed", "step": "second", "message": message(status)}
    assert not (tmp_path / "went-on").exists()
    setup.wait_for_events("Failed")


def test_progress_is_reported_during_an_attempt(sandbox: Sandbox, steps: Steps) -> None:
    place = steps.folder
    wait = 'until [ -e "$PARAM_PLACE/go" ]; do sleep 0.05; done'
    setup = Setup.make(sandbox, "scripts", second=wait, third="exit 1", place=str(place))
    status = setup.wait_for("at its second step", lambda status: status.get("step") == "second")
    assert (status["phase"], status["projectStatus"], status["progress"]) == ("Running", "compiling", "1/3")
    assert status["runRef"]["engine"] == "local"
    assert status["startedAt"]
    wait_for(lambda: setup.record["status"] == "compiling", "the record to show the step")
    steps.release()
    _, status = setup.ended()
    assert (status["step"], status["progress"]) == ("third", "2/3")


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


def test_messages_hold_no_secrets_and_are_short_and_readable_for_any_output(sandbox: Sandbox) -> None:
    token = "ghp_" + "a1B2" * 9
    script = f"""
        head -c 3000000 /dev/urandom; yes long | head -c 3000000 | tr -d '\\n'; echo
        echo cloning https://user:{token}@git.example/x; echo API_TOKEN={token}; printf "%01500d\\n" 7
        printf '\\n\\033[31mred\\033[0m\\0end\\n'; exit 1
    """
    setup = Setup.make(sandbox, "scripts", first=script)
    _, status = setup.ended()
    texts = [message(status), status["failure"]["message"], status["attempts"][0]["message"]]
    texts += [setup.record["setup_error"]["message"], condition(status, "Stalled")["message"]]
    setup.wait_for_events("Failed")
    texts += setup.notes("Failed")
    for text in texts:
        assert token not in text
        assert "step first failed with exit code 1" in text
        assert len(text) <= 1024
        assert text.isprintable()
    assert texts[1].endswith("redend")
    assert texts[0] == f"{texts[1]}; full output: projectsetup logs {setup.name}"
    everything = sandbox.published_texts()
    del everything["resources"], everything["events"]  # they hold the script, as a parameter
    assert not [place for place, text in everything.items() if token in text]


@pytest.mark.parametrize(
    ("script", "why", "how"),
    [
        ("echo 'fetch: Connection reset by peer' >&2; exit 3", "StepTransient", "it printed 'fetch: Connection reset"),
        ("kill -KILL $$", "StepKilled", "killed by SIGKILL"),
    ],
)
def test_a_retryable_failure_is_retried(sandbox: Sandbox, script: str, why: str, how: str) -> None:
    once = f'test "$ATTEMPT" = 1 || exit 0; {script}'
    setup = Setup.make(sandbox, "scripts", second=once, annotations=NO_BACKOFF)
    reason, status = setup.ended()
    assert (status["phase"], reason, status["attempt"]) == ("Succeeded", "SetupSucceeded", 2)
    first, second = status["attempts"]
    assert (first["outcome"], first["reason"], first["step"]) == ("Failed", why, "second")
    assert how in first["message"]
    assert second["outcome"] == "Succeeded"
    assert "failure" not in status
    assert (setup.record["status"], setup.record["setup_error"]) == ("ready", None)
    setup.wait_for_events("RetryScheduled", "Succeeded")
