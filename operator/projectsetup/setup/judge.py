"""What the end of a step means."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from projectsetup.api.durations import format_duration
from projectsetup.api.reasons import Reason
from projectsetup.setup.errors import InfrastructureError
from projectsetup.setup.message import message_with_output
from projectsetup.setup.obstacles import NOTHING_SPECIAL, Volume, obstacle
from projectsetup.setup.outcome import SetupFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projectsetup.recipes.model import Retry

TEMPORARY_FAILURE = 75
"""EX_TEMPFAIL of sysexits.h: the step itself asks for another attempt."""

SHELL_ADDS = 128
_REPORTED_SIGNALS = frozenset(
    {
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGILL,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGKILL,
        signal.SIGSEGV,
        signal.SIGPIPE,
        signal.SIGTERM,
        signal.SIGXCPU,
        signal.SIGXFSZ,
    }
)
"""A shell whose command was killed by signal n exits with 128+n, and the step was killed all the same.

SIGHUP is left out: nothing sends it here, and 129 is how git ends when it is called wrongly.
"""


class JudgedStep(Protocol):
    """What of a step its judgement depends on."""

    @property
    def name(self) -> str: ...
    @property
    def retry(self) -> Retry: ...


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """What a step was allowed: its own timeout, or what was left of the attempt's; `seconds` is the whole timeout."""

    seconds: float
    of_attempt: bool = False


@dataclass(frozen=True, slots=True)
class StepResult:
    """All that the judgement of a step depends on; `tail` are the last lines it printed, without secrets."""

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    oom: bool = False
    tail: tuple[str, ...] = ()
    matched_retry_line: str | None = None
    outputs: Mapping[str, str] | None = None
    volume: Volume = NOTHING_SPECIAL


@dataclass(frozen=True, slots=True)
class StepDone:
    """The step succeeded; `outputs` are the facts it told."""

    outputs: Mapping[str, str]


def judge(step: JudgedStep, result: StepResult, limit: TimeLimit) -> StepDone | SetupFailed | InfrastructureError:
    """The verdict on a step. Exit code 0 is success whatever else happened: the step's own outcome wins."""
    if result.exit_code == 0:
        return StepDone(result.outputs or {})
    trouble = _trouble(step, result, limit)
    if trouble is not None:
        reason, head = trouble
        message = message_with_output(head, result.tail)
        return InfrastructureError(reason, message, step=step.name, exit_code=result.exit_code)
    if result.exit_code is None:
        raise ValueError(f"the end of step {step.name} has neither an exit code nor a signal")
    head = f"step {step.name} failed with exit code {result.exit_code}"
    return SetupFailed(step.name, result.exit_code, message_with_output(head, result.tail))


def _trouble(step: JudgedStep, result: StepResult, limit: TimeLimit) -> tuple[Reason, str] | None:
    if result.timed_out:
        return Reason.STEP_TIMED_OUT, too_late(step, limit)
    killed_by = _killed_by(step, result)
    if result.oom:
        return Reason.STEP_KILLED, f"step {step.name} ran out of memory"
    if killed_by is not None:
        return Reason.STEP_KILLED, f"step {step.name} was killed by {_signal_name(killed_by)}"
    code = result.exit_code
    in_the_way = obstacle(result.volume, code, result.tail)
    if in_the_way is not None:
        return Reason.ENGINE_ERROR, f"step {step.name} failed with exit code {code} because {in_the_way}"
    why_it_may_pass = _why_it_may_pass(step, result)
    if why_it_may_pass is not None:
        return Reason.STEP_TRANSIENT, f"step {step.name} failed with exit code {code}, which {why_it_may_pass}"
    return None


def _why_it_may_pass(step: JudgedStep, result: StepResult) -> str | None:
    if result.exit_code == TEMPORARY_FAILURE or result.exit_code in step.retry.exit_codes:
        return "may pass"
    if result.matched_retry_line is not None:
        return f"may pass since it printed {result.matched_retry_line[:200]!r}"
    return None


def too_late(step: JudgedStep, limit: TimeLimit) -> str:
    """What is said of an attempt or a step whose time was over."""
    allowed = format_duration(timedelta(seconds=limit.seconds))
    if limit.of_attempt:
        return f"the attempt did not end within its timeout of {allowed}; it was at step {step.name}"
    return f"step {step.name} did not end within its timeout of {allowed}"


def signal_told_by(exit_code: int, step: JudgedStep) -> int | None:
    """The signal that killed the command of a shell, as the shell's exit code tells it; None when it tells of none."""
    number = exit_code - SHELL_ADDS
    return number if number in _REPORTED_SIGNALS and exit_code not in step.retry.exit_codes else None


def _killed_by(step: JudgedStep, result: StepResult) -> int | None:
    if result.signal is not None or result.exit_code is None:
        return result.signal
    return signal_told_by(result.exit_code, step)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
