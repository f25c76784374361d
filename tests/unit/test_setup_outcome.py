"""The outcome of a step and its message, as tables."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.recipes.model import Retry, Step, StepStatus
from projectsetup.setup.outcome import (
    MESSAGE_LENGTH,
    StepResult,
    StepSucceeded,
    TimeLimit,
    message_with_output,
    step_outcome,
)
from projectsetup.setup.types import InfrastructureError, SetupFailed, Volume

OWN = TimeLimit(300)
WHOLE = TimeLimit(1800, of_attempt=True)
TRANSIENT, TIMED_OUT, KILLED = Reason.STEP_TRANSIENT, Reason.STEP_TIMED_OUT, Reason.STEP_KILLED


def step(*codes: int) -> Step:
    return Step(name="compile", status=StepStatus.COMPILING, run="make", retry=Retry(exit_codes=codes, output=("x",)))


RESET = StepResult(exit_code=1, matched_retry_line="Connection reset", tail=("gave up",))


@pytest.mark.parametrize("also", [{}, {"matched_retry_line": "Connection reset"}, {"timed_out": True}, {"oom": True}])
def test_exit_code_0_is_success_whatever_else_happened(also: dict[str, Any]) -> None:
    assert step_outcome(step(), StepResult(exit_code=0, **also), OWN) == StepSucceeded({})


@pytest.mark.parametrize("code", [1, 2, 74, 76, 100, 127, 128, 129, 138, 160, 254, 255])
def test_any_other_exit_is_a_business_failure(code: int) -> None:
    outcome = step_outcome(step(), StepResult(exit_code=code, tail=("one", "", "two  words")), OWN)
    assert outcome == SetupFailed("compile", code, f"step compile failed with exit code {code}: one | two words")


NOTHING = "; it printed nothing"


@pytest.mark.parametrize(
    ("result", "reason", "message"),
    [
        (StepResult(exit_code=75), TRANSIENT, f"failed with exit code 75 (retryable){NOTHING}"),
        (StepResult(exit_code=9, tail=("busy",)), TRANSIENT, "failed with exit code 9 (retryable): busy"),
        (StepResult(exit_code=135), TRANSIENT, f"failed with exit code 135 (retryable){NOTHING}"),
        (RESET, TRANSIENT, "failed with exit code 1 (retryable: it printed 'Connection reset'): gave up"),
        (StepResult(signal=signal.SIGTERM, timed_out=True), TIMED_OUT, f"timed out after 5m{NOTHING}"),
        (StepResult(exit_code=75, timed_out=True), TIMED_OUT, f"timed out after 5m{NOTHING}"),
        (StepResult(signal=signal.SIGKILL), KILLED, f"was killed by SIGKILL{NOTHING}"),
        (StepResult(signal=signal.SIGSEGV), KILLED, f"was killed by SIGSEGV{NOTHING}"),
        (StepResult(signal=99), KILLED, f"was killed by signal 99{NOTHING}"),
        (StepResult(exit_code=137), KILLED, f"was killed by SIGKILL{NOTHING}"),
        (StepResult(exit_code=143), KILLED, f"was killed by SIGTERM{NOTHING}"),
        (StepResult(exit_code=139), KILLED, f"was killed by SIGSEGV{NOTHING}"),
        (StepResult(exit_code=134), KILLED, f"was killed by SIGABRT{NOTHING}"),
        (StepResult(exit_code=2, oom=True), KILLED, f"ran out of memory{NOTHING}"),
        (StepResult(signal=signal.SIGKILL, oom=True), KILLED, f"ran out of memory{NOTHING}"),
    ],
)
def test_retryable_failures(result: StepResult, reason: Reason, message: str) -> None:
    outcome = step_outcome(step(9, 135), result, OWN)
    assert isinstance(outcome, InfrastructureError)
    assert (outcome.reason, outcome.step, outcome.exit_code) == (reason, "compile", result.exit_code)
    assert outcome.message == str(outcome) == f"step compile {message}"


def test_the_message_says_whose_timeout_it_was() -> None:
    outcome = step_outcome(step(), StepResult(signal=signal.SIGTERM, timed_out=True, tail=("still at it",)), WHOLE)
    assert str(outcome) == ("the attempt timed out after 30m, during step compile: still at it")


def failed(code: int, *tail: str, **volume: bool) -> StepResult:
    return StepResult(exit_code=code, tail=tail, volume=Volume(**volume))


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (failed(1, "oops", full=True), "the disk is full: oops"),
        (failed(75, full=True), "the disk is full; it printed nothing"),
        (failed(1, "oops", read_only=True), "its workspace is mounted read-only: oops"),
        (failed(126, "x", no_exec=True), "its workspace is mounted noexec: x"),
        (failed(2, "Permission denied (os error 13)", no_exec=True), "its workspace is mounted noexec: Permission"),
        (failed(128, "write error: No space left on device"), "the disk is full: write error"),
        (failed(1, "ENOSPC: no space left on device", "at last"), "the disk is full: ENOSPC"),
        (failed(1, "[Errno 122] Disk quota exceeded: 'x'"), "a disk quota is exceeded: "),
        (failed(1, "accept: Too many open files"), "too many files are open: "),
        (failed(2, "sh: 1: Cannot fork"), "it could not start a process: "),
        (failed(1, "fork/exec /bin/x: resource temporarily unavailable"), "it could not start a process: "),
        (failed(1, "Error: spawn git EAGAIN"), "it could not start a process: "),
        (failed(1, "RuntimeError: can't start new thread"), "it could not start a process: "),
        (failed(1, "fatal: mmap failed: Cannot allocate memory"), "it could not allocate memory: "),
    ],
)
def test_an_obstacle_on_the_machine_is_an_engine_error(result: StepResult, why: str) -> None:
    outcome = step_outcome(step(), result, OWN)
    assert isinstance(outcome, InfrastructureError)
    assert outcome.reason is Reason.ENGINE_ERROR
    assert outcome.message.startswith(f"step compile failed with exit code {result.exit_code} because {why}")


@pytest.mark.parametrize(
    "result",
    [
        failed(126, "./x: Permission denied"),
        failed(1, "AssertionError", no_exec=True),
        failed(1, "open('/x'): Read-only file system"),
        failed(1, "Resource temporarily unavailable"),
        failed(1, "cannot forkify"),
    ],
)
def test_output_that_resembles_an_obstacle_is_a_business_failure(result: StepResult) -> None:
    assert isinstance(step_outcome(step(), result, OWN), SetupFailed)


TICKET = "remote: commits need a ticket number, see https://wiki.example/tickets"


DECLINED = (
    *("Cloning", "remote: Enumerating objects: 3, done.", "remote: ====", TICKET, "remote:", "remote: yours has none"),
    *(" ! [remote rejected] main -> main (hook declined)", "error: failed to push some refs"),
)


REFUSAL = (
    f": {TICKET} | remote: yours has none | Cloning"
    " | ! [remote rejected] main -> main (hook declined) | error: failed to push some refs"
)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ((), NOTHING),
        (("", "@@@@@@", " == "), NOTHING),
        (("1", "2", "3", "4", "5", "6"), ": 2 | 3 | 4 | 5 | 6"),
        (("@@@@@", "@  WARNING: HOST HAS CHANGED!  @"), ": @ WARNING: HOST HAS CHANGED! @"),
        (DECLINED, REFUSAL),
        (("remote: no", *"123456789"), ": remote: no | 5 | 6 | 7 | 8 | 9"),
    ],
)
def test_the_message_begins_with_what_the_server_said(tail: tuple[str, ...], expected: str) -> None:
    assert message_with_output("step push failed", tail) == f"step push failed{expected}"


def test_long_messages_keep_the_beginning_of_the_server_and_the_end_of_the_rest() -> None:
    message = message_with_output("step push failed", (f"remote: begin {'x' * 2000} end", f"begin {'y' * 2000} end"))
    assert len(message) == MESSAGE_LENGTH - 144
    assert message.startswith("step push failed: remote: begin xxx")
    assert "x… | …y" in message
    assert message.endswith("yyy end")
    message = message_with_output("step compile failed", ("begin " * 400, "the last line"))
    assert len(message) == MESSAGE_LENGTH - 144 == 880  # the controller adds words before and after it
    assert message.startswith("step compile failed: …")
    assert message.endswith("begin | the last line")
