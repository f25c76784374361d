"""How steps end, and what the operator makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.operator_stage import AT_ONCE, Stage, message, reason

CODE, DOCS = "c0de" * 10, "d0c5" * 16


def once(script: str) -> str:
    """A script for the first attempt; later ones succeed."""
    return f'test "$ATTEMPT" = 1 || exit 0\n{script}'


def run(
    stage: Stage, recipe: str = "scripts", *, timeout: str = "30m", **parameters: str
) -> tuple[str, dict[str, Any]]:
    """A project that was set up by these scripts, and the status of its ProjectSetup."""
    project = stage.apply(stage.project(), recipe, annotations=AT_ONCE, parameters=parameters, timeout=timeout)
    return project, stage.ended(project)


@pytest.mark.parametrize(
    ("script", "exit_code"),
    [("exit 1", 1), ("exit 74", 74), ("no-such-program", 127), ("echo $UNSET", 2), ("false; exit 0", 1), ("if", 2)],
)
def test_a_business_failure_is_terminal_at_once(stage: Stage, tmp_path: Path, script: str, exit_code: int) -> None:
    project, status = run(stage, second=script, third='touch "$PARAM_PLACE/went-on"', place=str(tmp_path))
    assert (status["phase"], reason(status), status["attempt"]) == ("Failed", "StepFailed", 1)
    failure = status["failure"]
    assert (failure["step"], failure["exitCode"], failure["retryable"]) == ("second", exit_code, False)
    assert (status["step"], status["progress"]) == ("second", "1/3")
    record = stage.record(project)
    assert record["status"] == "failed"
    assert record["setup_error"] == {"reason": "StepFailed", "step": "second", "message": message(status)}
    assert not (tmp_path / "went-on").exists()
    stage.has_events(project, "Started", "Failed")


@pytest.mark.parametrize(
    ("script", "why", "how"),
    [
        ("exit 75", "StepTransient", "exit code 75"),
        ("exit 42", "StepTransient", "exit code 42"),
        (
            "echo 'fetch: Connection reset by peer' >&2; exit 3",
            "StepTransient",
            "it printed 'fetch: Connection reset by peer'",
        ),
        (
            "echo TEMPORARY FAILURE in name resolution; seq 10000; exit 1",
            "StepTransient",
            "it printed 'TEMPORARY FAILURE in name resolution'",
        ),
        (
            "printf 'no line end: Connection reset'; exit 1",
            "StepTransient",
            "it printed 'no line end: Connection reset'",
        ),
        ("kill -KILL $$", "StepKilled", "killed by SIGKILL"),
        ("kill -TERM $$", "StepKilled", "killed by SIGTERM"),
        ("sh -c 'kill -KILL $$'", "StepKilled", "killed by SIGKILL"),
    ],
)
def test_a_failure_that_may_pass_is_retried(stage: Stage, script: str, why: str, how: str) -> None:
    project, status = run(stage, second=once(script))
    assert (status["phase"], reason(status), status["attempt"]) == ("Succeeded", "SetupSucceeded", 2)
    first, second = status["attempts"]
    assert (first["outcome"], first["reason"], first["step"]) == ("Failed", why, "second")
    assert how in first["message"]
    assert second["outcome"] == "Succeeded"
    assert "failure" not in status
    assert (stage.record(project)["status"], stage.record(project)["setup_error"]) == ("ready", None)
    stage.has_events(project, "Started", "RetryScheduled", "Started", "Succeeded")


def test_a_failure_that_does_not_pass_uses_up_all_attempts(stage: Stage) -> None:
    project, status = run(stage, first="echo once more; exit 75")
    assert (reason(status), status["attempt"], status["maxAttempts"]) == ("AttemptsExhausted", 3, 3)
    assert [attempt["number"] for attempt in status["attempts"]] == [1, 2, 3]
    failure = status["failure"]
    assert (failure["reason"], failure["exitCode"], failure["retryable"]) == ("StepTransient", 75, True)
    assert failure["message"].endswith("once more")
    assert stage.record(project)["setup_error"]["reason"] == "AttemptsExhausted"


def test_success_counts_whatever_was_printed(stage: Stage) -> None:
    _, status = run(stage, second="echo Connection reset; echo temporary failure >&2; exit 0")
    assert (reason(status), status["attempt"], status["progress"]) == ("SetupSucceeded", 1, "3/3")


def test_a_retry_pattern_counts_for_its_step_alone(stage: Stage) -> None:
    _, status = run(stage, second="echo Connection reset", third="exit 1")
    assert (reason(status), status["attempt"]) == ("StepFailed", 1)


def test_a_step_that_takes_too_long_is_stopped_and_retried(stage: Stage) -> None:
    _, status = run(stage, "hasty", script=once("echo waiting; sleep 600"))
    assert (reason(status), status["attempt"]) == ("SetupSucceeded", 2)
    assert status["attempts"][0]["reason"] == "StepTimedOut"
    assert status["attempts"][0]["message"] == "step hurry timed out after 1s: waiting"


def test_an_attempt_that_takes_too_long_is_stopped_and_retried(stage: Stage) -> None:
    _, status = run(stage, timeout="700ms", first="sleep 0.1", third=once("sleep 600"))
    assert (reason(status), status["attempt"]) == ("SetupSucceeded", 2)
    assert status["attempts"][0]["reason"] == "StepTimedOut"
    told = "the attempt timed out after 700ms, during step third; it printed nothing"
    assert status["attempts"][0]["message"] == told


def test_a_step_that_succeeds_while_it_is_stopped_has_succeeded(stage: Stage) -> None:
    _, status = run(stage, "hasty", script="trap 'exit 0' TERM; sleep 600 & wait")
    assert (reason(status), status["attempt"]) == ("SetupSucceeded", 1)


def test_the_commits_are_those_that_the_steps_told(stage: Stage) -> None:
    tell = f"echo CODE_COMMIT={CODE} >> $STEP_OUTPUTS"
    wrong = "printf 'DOCS_COMMIT=$(id)\\nOTHER=1\\nCODE_COMMIT\\n\\377\\n' > $STEP_OUTPUTS"
    _, status = run(stage, first=tell, second=wrong, third=f"echo DOCS_COMMIT={DOCS} > $STEP_OUTPUTS")
    assert status["commits"] == {"codeRepo": CODE, "docsRepo": DOCS}


def test_a_process_that_a_step_leaves_behind_ends_with_the_step(stage: Stage) -> None:
    _, status = run(stage, first="setsid sleep 600 & echo $! > left", second="! kill -0 $(cat left) 2>/dev/null")
    assert reason(status) == "SetupSucceeded"


def test_whatever_a_step_prints_the_message_is_short_and_readable(stage: Stage) -> None:
    binary, endless = "head -c 3000000 /dev/urandom", "yes long | head -c 3000000 | tr -d '\\n'"
    colours = "printf '\\n\\033[31mred\\033[0m\\0end\\n'"
    project, status = run(stage, first=f"{binary}; {endless}; {colours}; exit 1")
    assert reason(status) == "StepFailed"
    for text in (message(status), status["failure"]["message"], stage.record(project)["setup_error"]["message"]):
        assert len(text) <= 1024
        assert text.isprintable()
        assert text.endswith("redend")
