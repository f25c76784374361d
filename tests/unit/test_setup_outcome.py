"""The outcome of a step and its message, as tables."""

from __future__ import annotations

import signal

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
TRANSIENT, TIMED_OUT, KILLED = (
    Reason.STEP_TRANSIENT,
    Reason.STEP_TIMED_OUT,
    Reason.STEP_KILLED,
)


def step(*codes: int) -> Step:
    return Step(name="compile", status=StepStatus.COMPILING, run="make", retry=Retry(exit_codes=codes, output=("x",)))


@pytest.mark.parametrize(
    "result",
    [
        StepResult(exit_code=0),
        StepResult(exit_code=0, matched_retry_line="Connection reset"),
        StepResult(exit_code=0, timed_out=True),
        StepResult(exit_code=0, oom=True),
    ],
)
def test_exit_code_0_is_success_whatever_else_happened(result: StepResult) -> None:
    assert step_outcome(step(), result, OWN) == StepSucceeded({})


@pytest.mark.parametrize("code", [1, 2, 74, 76, 100, 127, 128, 129, 138, 160, 254, 255])
def test_any_other_exit_is_a_business_failure(code: int) -> None:
    outcome = step_outcome(step(), StepResult(exit_code=code, tail=("one", "", "two  words")), OWN)
    assert outcome == SetupFailed("compile", code, f"step compile failed with exit code {code}: one | two words")


@pytest.mark.parametrize(
    ("result", "reason", "message"),
    [
        (
            StepResult(exit_code=75),
            TRANSIENT,
            "step compile failed with exit code 75 (retryable); it printed nothing",
        ),
        (
            StepResult(exit_code=9, tail=("busy",)),
            TRANSIENT,
            "step compile failed with exit code 9 (retryable): busy",
        ),
        (
            StepResult(exit_code=1, matched_retry_line="Connection reset", tail=("gave up",)),
            TRANSIENT,
            "step compile failed with exit code 1 (retryable: it printed 'Connection reset'): gave up",
        ),
        (
            StepResult(signal=signal.SIGTERM, timed_out=True),
            TIMED_OUT,
            "step compile timed out after 5m; it printed nothing",
        ),
        (StepResult(exit_code=75, timed_out=True), TIMED_OUT, None),
        (StepResult(exit_code=143, timed_out=True), TIMED_OUT, None),
        (StepResult(signal=signal.SIGKILL), KILLED, "step compile was killed by SIGKILL; it printed nothing"),
        (StepResult(signal=signal.SIGSEGV), KILLED, "step compile was killed by SIGSEGV; it printed nothing"),
        (StepResult(signal=99), KILLED, "step compile was killed by signal 99; it printed nothing"),
        (StepResult(signal=signal.SIGHUP), KILLED, None),
        (StepResult(exit_code=137), KILLED, "step compile was killed by SIGKILL; it printed nothing"),
        (StepResult(exit_code=143), KILLED, None),
        (StepResult(exit_code=139), KILLED, None),
        (StepResult(exit_code=134), KILLED, None),
        (StepResult(exit_code=2, oom=True), KILLED, "step compile ran out of memory; it printed nothing"),
        (StepResult(signal=signal.SIGKILL, oom=True), KILLED, "step compile ran out of memory; it printed nothing"),
    ],
)
def test_retryable_failures(result: StepResult, reason: Reason, message: str | None) -> None:
    outcome = step_outcome(step(9), result, OWN)
    assert isinstance(outcome, InfrastructureError)
    assert (outcome.reason, outcome.step, outcome.exit_code) == (reason, "compile", result.exit_code)
    assert message is None or outcome.message == message == str(outcome)


def test_an_exit_code_that_the_recipe_lists_is_transient_even_if_it_looks_like_a_signal() -> None:
    outcome = step_outcome(step(137), StepResult(exit_code=137), OWN)
    assert isinstance(outcome, InfrastructureError)
    assert outcome.reason is TRANSIENT


def test_the_message_says_whose_timeout_it_was() -> None:
    outcome = step_outcome(step(), StepResult(signal=signal.SIGTERM, timed_out=True, tail=("still at it",)), WHOLE)
    assert str(outcome) == ("the attempt timed out after 30m, during step compile: still at it")


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (StepResult(exit_code=1, volume=Volume(full=True), tail=("oops",)), "the disk is full: oops"),
        (
            StepResult(exit_code=1, volume=Volume(read_only=True), tail=("oops",)),
            "its workspace is mounted read-only: oops",
        ),
        (StepResult(exit_code=126, volume=Volume(no_exec=True), tail=("x",)), "its workspace is mounted noexec: x"),
        (
            StepResult(exit_code=2, volume=Volume(no_exec=True), tail=("Permission denied (os error 13)",)),
            "its workspace is mounted noexec: Permission denied (os error 13)",
        ),
        (StepResult(exit_code=128, tail=("write error: No space left on device",)), "the disk is full: write error"),
        (
            StepResult(exit_code=1, tail=("ENOSPC: no space left on device", "at last")),
            "the disk is full: ENOSPC",
        ),
        (StepResult(exit_code=1, tail=("[Errno 122] Disk quota exceeded: 'x'",)), "a disk quota is exceeded: "),
        (StepResult(exit_code=1, tail=("accept: Too many open files",)), "too many files are open: "),
        (StepResult(exit_code=2, tail=("sh: 1: Cannot fork",)), "it could not start a process: "),
        (StepResult(exit_code=1, tail=("fork/exec /bin/x: resource temporarily unavailable",)), "it could not start"),
        (StepResult(exit_code=1, tail=("Error: spawn git EAGAIN",)), "it could not start a process: "),
        (StepResult(exit_code=1, tail=("RuntimeError: can't start new thread",)), "it could not start a process: "),
        (
            StepResult(exit_code=1, tail=("fatal: mmap failed: Cannot allocate memory",)),
            "it could not allocate memory: ",
        ),
        (StepResult(exit_code=75, volume=Volume(full=True)), "the disk is full; it printed nothing"),
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
        StepResult(exit_code=126, tail=("./x: Permission denied",)),
        StepResult(exit_code=1, volume=Volume(no_exec=True), tail=("AssertionError",)),
        StepResult(exit_code=1, tail=("open('/x'): Read-only file system",)),
        StepResult(exit_code=1, tail=("Resource temporarily unavailable",)),
        StepResult(exit_code=1, tail=("cannot forkify",)),
    ],
)
def test_output_that_resembles_an_obstacle_is_a_business_failure(result: StepResult) -> None:
    assert isinstance(step_outcome(step(), result, OWN), SetupFailed)


DECLINED = (
    "Cloning",
    "remote: Enumerating objects: 3, done.",
    "remote: ========================",
    "remote: commits need a ticket number, see https://wiki.example/tickets",
    "remote:",
    "remote: yours has none",
    "To https://git.example/app.git",
    " ! [remote rejected] main -> main (pre-receive hook declined)",
    "error: failed to push some refs",
)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ((), "; it printed nothing"),
        (("", "@@@@@@", " == "), "; it printed nothing"),
        (("a", "b"), ": a | b"),
        (("1", "2", "3", "4", "5", "6"), ": 2 | 3 | 4 | 5 | 6"),
        (
            ("@@@@@", "@  WARNING: HOST IDENTIFICATION HAS CHANGED!  @"),
            ": @ WARNING: HOST IDENTIFICATION HAS CHANGED! @",
        ),
        (
            DECLINED,
            (
                ": remote: commits need a ticket number, see https://wiki.example/tickets | remote: yours has none"
                " | Cloning | To https://git.example/app.git | ! [remote rejected] main -> main (pre-receive hook"
                " declined) | error: failed to push some refs"
            ),
        ),
        (("remote: no", *"123456789"), ": remote: no | 5 | 6 | 7 | 8 | 9"),
    ],
)
def test_the_message_begins_with_what_the_server_said(tail: tuple[str, ...], expected: str) -> None:
    assert message_with_output("step push failed", tail) == f"step push failed{expected}"


def test_a_long_message_keeps_the_beginning_of_the_server_and_the_end_of_the_rest() -> None:
    message = message_with_output("step push failed", (f"remote: begin {'x' * 2000} end", f"begin {'y' * 2000} end"))
    assert len(message) == MESSAGE_LENGTH
    assert message.startswith("step push failed: remote: begin xxx")
    assert "x… | …y" in message
    assert message.endswith("yyy end")
