"""How an attempt, or a whole setup, ends: from the outcome of a run to one `AttemptEnd`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from projectsetup.api.models import Commits, Failure, ProjectSetupResource
from projectsetup.api.reasons import Reason
from projectsetup.projects.model import ProjectStatus
from projectsetup.setup.outcome import MESSAGE_LENGTH, cut
from projectsetup.setup.types import InfrastructureError, NotStarted, SetupFailed, SetupSucceeded

MAX_JITTER: Final = 0.10
"""Largest share of a delay that is added to it, so that failures with one cause do not all retry at once."""

DEFERRAL: Final = timedelta(seconds=30)
"""Delay before an attempt that could not start is tried again; meanwhile it holds no slot."""


SUSPENDED: Final = "suspended by spec.suspend; no attempt starts"
"""The message of `.status` while a setup is suspended."""


class StopCause(StrEnum):
    """Why a running attempt was asked to stop."""

    CANCEL = "cancel"
    SUSPEND = "suspend"
    DELETED = "deleted"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease lost"
    FENCED = "fenced"
    """The fence in the record has moved on: this attempt no longer owns the project."""


_STOPPED_BY: Final = {
    StopCause.CANCEL: "a cancel request",
    StopCause.SUSPEND: "spec.suspend",
    StopCause.DELETED: "the deletion of its ProjectSetup",
    StopCause.SHUTDOWN: "an operator shutdown",
    StopCause.LEASE_LOST: "the loss of the leader lease",
    StopCause.FENCED: "another claim on the project",
}


@dataclass(frozen=True, slots=True)
class AttemptStopped:
    """The attempt ended because it was asked to stop; nothing of it is alive."""

    cause: StopCause


RunOutcome = SetupSucceeded | SetupFailed | InfrastructureError | AttemptStopped

LOST_CLAIM: Final = InfrastructureError(Reason.INTERRUPTED, "the claim on the project was lost during the attempt")


class EndKind(StrEnum):
    """What an end leads to. Its value is stored in the record and labels metrics."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    RETRY = "RetryScheduled"
    RELEASED = "Returned"  # the name it had before: records and metrics keep it
    """The attempt does not count."""


class AttemptEnd(BaseModel):
    """The end of attempt number `attempt` (0: none had started); the record stores it, and `.status` is made from it.

    `reason` is that of the `Succeeded` condition; `failure` is the last thing that went wrong.
    """

    model_config = ConfigDict(frozen=True)

    kind: EndKind
    attempt: int
    reason: Reason
    message: str
    finished_at: datetime
    failure: Failure | None = None
    commits: Commits | None = None
    next_attempt_at: datetime | None = None
    step: str | None = None
    """The step at which it ended; None where `.status` already has it, as after a crash."""
    progress: str | None = None
    recipe: str | None = None
    """The recipe of a successful setup, else None; likewise `parameters`."""
    parameters: dict[str, str] | None = None

    @property
    def attempts_used(self) -> int:
        """How many attempts of the series count after this end."""
        return max(self.attempt - 1, 0) if self.kind is EndKind.RELEASED else self.attempt

    @property
    def project_status(self) -> ProjectStatus:
        """The status of the project in its record after this end."""
        match self.kind:
            case EndKind.SUCCEEDED:
                return ProjectStatus.READY
            case EndKind.RETRY | EndKind.RELEASED:
                return ProjectStatus.SETUP_QUEUED
            case EndKind.FAILED | EndKind.CANCELLED:
                return ProjectStatus.FAILED

    @property
    def setup_error(self) -> dict[str, Any] | None:
        """The record's `setup_error`, `{reason, step, message}`; None unless the setup failed or was cancelled."""
        if self.kind not in {EndKind.FAILED, EndKind.CANCELLED}:
            return None
        step = self.failure.step if self.failure else None
        return {"reason": str(self.reason), "step": step, "message": self.message}

    def to_result(self) -> dict[str, Any]:
        """Encode it for the record, so that `.status` can be completed after a crash."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> AttemptEnd:
        """Decode what `to_result` wrote."""
        return cls.model_validate(result)


def end_of_attempt(
    resource: ProjectSetupResource, number: int, outcome: RunOutcome, *, now: datetime, jitter: float
) -> AttemptEnd:
    """The end of attempt `number`. A success or business failure stands even if the attempt was asked to stop.

    `jitter` is a number from 0 to 1, see `retry_delay`.
    """
    match outcome:
        case SetupSucceeded():
            return _succeeded(resource, number, outcome, now)
        case SetupFailed():
            failure = Failure(
                reason=Reason.STEP_FAILED,
                message=outcome.message,
                step=outcome.step,
                exit_code=outcome.exit_code,
                retryable=False,
            )
            return _failed(resource, number, outcome.message, failure, now, reason=Reason.STEP_FAILED)
        case AttemptStopped() if not resource.cancel_is_new:
            return _released(resource, number, outcome.cause, now)
        case AttemptStopped() | InfrastructureError() if resource.cancel_is_new:
            return AttemptEnd(
                kind=EndKind.CANCELLED,
                attempt=number,
                reason=Reason.CANCELLED,
                message=f"cancelled during attempt {number}; all its processes have ended",
                finished_at=now,
            )
        case NotStarted():
            return _deferred(number, outcome.message, now)
        case InfrastructureError():
            return _retry_or_exhausted(resource, number, outcome, now=now, jitter=jitter)
    raise AssertionError(f"unknown outcome {outcome!r}")


def end_without_run(
    resource: ProjectSetupResource, kind: EndKind, reason: Reason, message: str, now: datetime
) -> AttemptEnd:
    """The terminal end of a setup that has no running attempt."""
    failure = None
    if kind is EndKind.FAILED and reason is not Reason.ATTEMPTS_EXHAUSTED:
        failure = Failure(reason=reason, message=message, retryable=False)
    return AttemptEnd(
        kind=kind, attempt=resource.status.attempt, reason=reason, message=message, finished_at=now, failure=failure
    )


def retry_message(number: int, limit: int, why: str, due: datetime) -> str:
    """The message of `.status` between the failed attempt `number` and the next one."""
    return f"attempt {number} of {limit} failed: {why}; next attempt at {due:%H:%M:%S} UTC"


def retry_delay(failed_attempt: int, *, backoff: timedelta, backoff_max: timedelta, jitter: float) -> timedelta:
    """The delay after `failed_attempt` (from 1): min(backoff * 2^(n-1), backoff_max), and up to 10 % more.

    `jitter` is a number from 0 to 1: which share of the 10 % is added.
    """
    if failed_attempt < 1:
        raise ValueError(f"attempts count from 1, not from {failed_attempt}")
    growth = min(2 ** (failed_attempt - 1), math.ceil(backoff_max / backoff))
    delay: timedelta = min(backoff * growth, backoff_max)
    return delay * (1 + MAX_JITTER * jitter)


def _succeeded(resource: ProjectSetupResource, number: int, outcome: SetupSucceeded, now: datetime) -> AttemptEnd:
    pushed = any((outcome.code_commit, outcome.docs_commit))
    spec = resource.spec
    return AttemptEnd(
        kind=EndKind.SUCCEEDED,
        attempt=number,
        reason=Reason.SETUP_SUCCEEDED,
        message=f"the project was set up in attempt {number}",
        finished_at=now,
        commits=Commits(code_repo=outcome.code_commit, docs_repo=outcome.docs_commit) if pushed else None,
        recipe=spec.recipe if spec else None,
        parameters=dict(spec.parameters) if spec else None,
    )


def _failed(
    resource: ProjectSetupResource, number: int, message: str, failure: Failure, now: datetime, *, reason: Reason
) -> AttemptEnd:
    """The message also says how to read what the step printed, since it holds only the last of that."""
    hint = f"; full output: projectsetup logs {resource.name}" if failure.step is not None else ""
    return AttemptEnd(
        kind=EndKind.FAILED,
        attempt=number,
        reason=reason,
        message=cut(message, MESSAGE_LENGTH - len(hint)) + hint,
        finished_at=now,
        failure=failure,
    )


def _released(resource: ProjectSetupResource, number: int, cause: StopCause, now: datetime) -> AttemptEnd:
    suspended = resource.spec is not None and resource.spec.suspend
    stopped = f"attempt {number} was stopped by {_STOPPED_BY[cause]} and does not count"
    return AttemptEnd(
        kind=EndKind.RELEASED,
        attempt=number,
        reason=Reason.SUSPENDED if suspended else Reason.QUEUED,
        message=SUSPENDED if suspended else stopped,
        finished_at=now,
    )


def _deferred(number: int, why: str, now: datetime) -> AttemptEnd:
    due = _whole_second(now + DEFERRAL)
    return AttemptEnd(
        kind=EndKind.RELEASED,
        attempt=number,
        reason=Reason.QUEUED,
        message=cut(f"attempt {number} could not start and does not count; next attempt at {due:%H:%M:%S} UTC: {why}"),
        finished_at=now,
        next_attempt_at=due,
    )


def _retry_or_exhausted(
    resource: ProjectSetupResource, number: int, outcome: InfrastructureError, *, now: datetime, jitter: float
) -> AttemptEnd:
    failure = Failure(
        reason=outcome.reason,
        message=outcome.message,
        step=outcome.step,
        exit_code=outcome.exit_code,
        retryable=True,
    )
    tuning = resource.tuning
    if tuning is None:
        message = resource.problem or "the resource is invalid"
        return _failed(resource, number, message, failure, now, reason=Reason.INVALID_SPEC)
    why = f"{outcome.reason}: {outcome.message}"
    if number >= tuning.max_attempts:
        message = f"all {number} attempts were used; last failure: {why}"
        return _failed(resource, number, message, failure, now, reason=Reason.ATTEMPTS_EXHAUSTED)
    delay = retry_delay(number, backoff=tuning.backoff, backoff_max=tuning.backoff_max, jitter=jitter)
    due = _whole_second(now + delay)
    return AttemptEnd(
        kind=EndKind.RETRY,
        attempt=number,
        reason=Reason.RETRY_SCHEDULED,
        message=retry_message(number, tuning.max_attempts, why, due),
        finished_at=now,
        failure=failure,
        next_attempt_at=due,
    )


def _whole_second(time: datetime) -> datetime:
    """Round up as `.status` does, so that message and `nextAttemptAt` agree."""
    return time if time.microsecond == 0 else time.replace(microsecond=0) + timedelta(seconds=1)
