"""What the end of a step means, as a table."""

from __future__ import annotations

import signal

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.recipes.model import Retry, Step, StepStatus
from projectsetup.setup.errors import InfrastructureError
from projectsetup.setup.judge import StepDone, StepResult, TimeLimit, judge
from projectsetup.setup.obstacles import Volume
from projectsetup.setup.outcome import SetupFailed

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
    assert judge(step(), result, OWN) == StepDone({})


def test_a_step_that_is_done_hands_on_the_facts_it_told() -> None:
    facts = {"CODE_COMMIT": "a" * 40}
    assert judge(step(), StepResult(exit_code=0, outputs=facts), OWN) == StepDone(facts)


@pytest.mark.parametrize("code", [1, 2, 74, 76, 100, 127, 128, 129, 138, 160, 254, 255])
def test_any_other_exit_is_a_business_failure(code: int) -> None:
    verdict = judge(step(), StepResult(exit_code=code, tail=("one", "", "two  words")), OWN)
    assert verdict == SetupFailed("compile", code, f"step compile failed with exit code {code}: one | two words")


@pytest.mark.parametrize(
    ("result", "reason", "message"),
    [
        (
            StepResult(exit_code=75),
            TRANSIENT,
            "step compile failed with exit code 75, which may pass; it printed nothing",
        ),
        (
            StepResult(exit_code=9, tail=("busy",)),
            TRANSIENT,
            "step compile failed with exit code 9, which may pass: busy",
        ),
        (
            StepResult(exit_code=1, matched_retry_line="Connection reset", tail=("gave up",)),
            TRANSIENT,
            "step compile failed with exit code 1, which may pass since it printed 'Connection reset': gave up",
        ),
        (
            StepResult(signal=signal.SIGTERM, timed_out=True),
            TIMED_OUT,
            "step compile did not end within its timeout of 5m; it printed nothing",
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
def test_what_is_worth_another_attempt(result: StepResult, reason: Reason, message: str | None) -> None:
    verdict = judge(step(9), result, OWN)
    assert isinstance(verdict, InfrastructureError)
    assert (verdict.reason, verdict.step, verdict.exit_code) == (reason, "compile", result.exit_code)
    assert message is None or verdict.message == message == str(verdict)


def test_an_exit_code_that_the_recipe_names_is_transient_even_where_it_looks_like_a_signal() -> None:
    verdict = judge(step(137), StepResult(exit_code=137), OWN)
    assert isinstance(verdict, InfrastructureError)
    assert verdict.reason is TRANSIENT


def test_the_message_tells_whose_timeout_it_was() -> None:
    verdict = judge(step(), StepResult(signal=signal.SIGTERM, timed_out=True, tail=("still at it",)), WHOLE)
    assert str(verdict) == ("the attempt did not end within its timeout of 30m; it was at step compile: still at it")


def test_a_message_is_cut_where_it_tells_least() -> None:
    verdict = judge(step(), StepResult(exit_code=1, tail=("begin " * 400, "the last line")), OWN)
    assert isinstance(verdict, SetupFailed)
    assert len(verdict.message) == 1024
    assert verdict.message.startswith("step compile failed with exit code 1: …")
    assert verdict.message.endswith("begin | the last line")


def test_of_much_output_the_last_lines_are_told() -> None:
    verdict = judge(step(), StepResult(exit_code=1, tail=tuple(f"line {n}" for n in range(40))), OWN)
    assert isinstance(verdict, SetupFailed)
    assert verdict.message.endswith(": line 35 | line 36 | line 37 | line 38 | line 39")


def test_an_end_that_is_none_is_a_mistake_of_the_engine() -> None:
    with pytest.raises(ValueError, match="neither an exit code nor a signal"):
        judge(step(), StepResult(), OWN)


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
        (StepResult(exit_code=2, tail=("sh: 1: Cannot fork",)), "no process can be started: "),
        (StepResult(exit_code=1, tail=("fork/exec /bin/x: resource temporarily unavailable",)), "no process can be"),
        (StepResult(exit_code=1, tail=("Error: spawn git EAGAIN",)), "no process can be started: "),
        (StepResult(exit_code=1, tail=("RuntimeError: can't start new thread",)), "no process can be started: "),
        (StepResult(exit_code=1, tail=("fatal: mmap failed: Cannot allocate memory",)), "there is not enough memory: "),
        (StepResult(exit_code=75, volume=Volume(full=True)), "the disk is full; it printed nothing"),
    ],
)
def test_what_stands_in_the_way_of_a_step_is_not_the_projects_fault(result: StepResult, why: str) -> None:
    verdict = judge(step(), result, OWN)
    assert isinstance(verdict, InfrastructureError)
    assert verdict.reason is Reason.ENGINE_ERROR
    assert verdict.message.startswith(f"step compile failed with exit code {result.exit_code} because {why}")


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
def test_what_looks_like_an_obstacle_and_is_none(result: StepResult) -> None:
    assert isinstance(judge(step(), result, OWN), SetupFailed)
