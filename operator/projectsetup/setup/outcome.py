"""The outcome of a step: success, business failure or infrastructure error, and the message about it."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from projectsetup.api.durations import format_duration
from projectsetup.api.reasons import Reason
from projectsetup.setup.types import HEALTHY, InfrastructureError, SetupFailed, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from projectsetup.recipes.model import Retry

MESSAGE_LENGTH: Final = 1024
_WITH_OUTPUT: Final = 880
"""Characters of a message with output: the controller adds words before and after it."""
TEMPORARY_FAILURE: Final = 75
"""EX_TEMPFAIL of sysexits.h: the step asks for another attempt."""
SHELL_SIGNAL_BASE: Final = 128
"""A shell whose command was killed by signal n exits with 128 + n."""
_CANNOT_EXECUTE: Final = 126
"""Exit code of a shell for an existing program that it may not execute."""

_KILLING_SIGNALS: Final = frozenset(
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
"""Signals that an exit code of 128 + n stands for. Without SIGHUP: nothing sends it, and 129 is git's usage error."""

_OBSTACLES: Final = {
    "the disk is full": re.compile(r"no space left on device", re.IGNORECASE),
    "a disk quota is exceeded": re.compile(r"disk quota exceeded", re.IGNORECASE),
    "too many files are open": re.compile(r"too many open files|shared object file: Error 24", re.IGNORECASE),
    "it could not start a process": re.compile(
        r"cannot fork\b|can't start new thread|\b(?:fork|spawn)\b.*(?:resource temporarily unavailable|\bEAGAIN\b)",
        re.IGNORECASE,
    ),
    "it could not allocate memory": re.compile(r"cannot allocate memory", re.IGNORECASE),
}
"""The C library's error texts, which programs in every language print."""
_PERMISSION_DENIED: Final = re.compile(r"permission denied", re.IGNORECASE)

_MESSAGE_LINES: Final = 5
_SEPARATOR: Final = " | "
_REMOTE: Final = "remote:"
_REMOTE_PROGRESS: Final = re.compile(r"remote: ?(?:Enumerating|Counting|Compressing|Resolving|Processing|Total)\b")
_INFORMATIVE: Final = re.compile(r"\w")
"""A line without a letter or a digit is decoration."""


class StepPolicy(Protocol):
    """The properties of a step that its outcome depends on."""

    @property
    def name(self) -> str: ...
    @property
    def retry(self) -> Retry: ...


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """The timeout that limited a step, in seconds: its own, or that of the whole attempt."""

    seconds: float
    of_attempt: bool = False


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended, with everything its outcome depends on; `tail` is its last output, without secrets."""

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    oom: bool = False
    tail: tuple[str, ...] = ()
    matched_retry_line: str | None = None
    outputs: Mapping[str, str] | None = None
    volume: Volume = HEALTHY


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """The step succeeded; `outputs` are the facts it reported."""

    outputs: Mapping[str, str]


def step_outcome(
    step: StepPolicy, result: StepResult, limit: TimeLimit
) -> StepSucceeded | SetupFailed | InfrastructureError:
    """The outcome of a step. Exit code 0 is success whatever else happened: the step's own result wins."""
    if result.exit_code == 0:
        return StepSucceeded(result.outputs or {})
    retryable = _retryable_failure(step, result, limit)
    if retryable is not None:
        reason, head = retryable
        message = message_with_output(head, result.tail)
        return InfrastructureError(reason, message, step=step.name, exit_code=result.exit_code)
    if result.exit_code is None:
        raise ValueError(f"step {step.name} ended with neither an exit code nor a signal")
    head = f"step {step.name} failed with exit code {result.exit_code}"
    return SetupFailed(step.name, result.exit_code, message_with_output(head, result.tail))


def _retryable_failure(step: StepPolicy, result: StepResult, limit: TimeLimit) -> tuple[Reason, str] | None:
    if result.timed_out:
        return Reason.STEP_TIMED_OUT, timeout_message(step, limit)
    if result.oom:
        return Reason.STEP_KILLED, f"step {step.name} ran out of memory"
    killed_by = _killed_by(step, result)
    if killed_by is not None:
        return Reason.STEP_KILLED, f"step {step.name} was killed by {_signal_name(killed_by)}"
    failed = f"step {step.name} failed with exit code {result.exit_code}"
    obstacle = _obstacle(result)
    if obstacle is not None:
        return Reason.ENGINE_ERROR, f"{failed} because {obstacle}"
    transient = _transient(step, result)
    return None if transient is None else (Reason.STEP_TRANSIENT, f"{failed} ({transient})")


def _transient(step: StepPolicy, result: StepResult) -> str | None:
    if result.exit_code == TEMPORARY_FAILURE or result.exit_code in step.retry.exit_codes:
        return "retryable"
    if result.matched_retry_line is not None:
        return f"retryable: it printed {result.matched_retry_line[:200]!r}"
    return None


def _killed_by(step: StepPolicy, result: StepResult) -> int | None:
    if result.signal is not None or result.exit_code is None:
        return result.signal
    return signal_from_exit_code(result.exit_code, step)


def signal_from_exit_code(exit_code: int, step: StepPolicy) -> int | None:
    """The signal that killed the command of a shell with this exit code; None when it does not stand for a signal."""
    number = exit_code - SHELL_SIGNAL_BASE
    return number if number in _KILLING_SIGNALS and exit_code not in step.retry.exit_codes else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _obstacle(result: StepResult) -> str | None:
    """What on the machine made the step fail.

    The state of the volume comes first: the output matters only for what was freed before the step ended and for
    limits that no volume shows.
    """
    volume, tail = result.volume, result.tail
    if volume.full:
        return "the disk is full"
    if volume.read_only:
        return "its workspace is mounted read-only"
    if volume.no_exec and (result.exit_code == _CANNOT_EXECUTE or any(map(_PERMISSION_DENIED.search, tail))):
        return "its workspace is mounted noexec"
    return next((what for what, pattern in _OBSTACLES.items() if any(map(pattern.search, tail))), None)


def timeout_message(step: StepPolicy, limit: TimeLimit) -> str:
    """The message about an attempt or a step that timed out."""
    allowed = format_duration(timedelta(seconds=limit.seconds))
    if limit.of_attempt:
        return f"the attempt timed out after {allowed}, during step {step.name}"
    return f"step {step.name} timed out after {allowed}"


def message_with_output(head: str, tail: Sequence[str]) -> str:
    """`head: output` in one line: first what a git server says (`remote: …`), then the last lines.

    The end of the last lines matters most, so they are cut at their beginning.
    """
    lines = [text for line in tail if _INFORMATIVE.search((text := " ".join(line.split())).removeprefix(_REMOTE))]
    if not lines:
        return cut(f"{head}; it printed nothing")
    remote = [line for line in lines if line.startswith(_REMOTE) and not _REMOTE_PROGRESS.match(line)]
    last = [line for line in lines if not line.startswith(_REMOTE)][-_MESSAGE_LINES:]
    space = _WITH_OUTPUT - len(head) - len(": ")
    parts = [cut(_SEPARATOR.join(remote), space * 2 // 3)] if remote else []
    if last:
        space -= sum(len(part) + len(_SEPARATOR) for part in parts)
        parts.append(_cut_beginning(_SEPARATOR.join(last), space))
    return cut(f"{head}: {_SEPARATOR.join(parts)}")


def cut(text: str, limit: int = MESSAGE_LENGTH) -> str:
    """The text, cut to `limit` characters when it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _cut_beginning(text: str, limit: int) -> str:
    return text if len(text) <= limit else "…" + text[len(text) - max(limit - 1, 0) :]
