"""Reasons, phases and outcomes that users and tools read in `.status` and in events."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Reason of the `Succeeded` condition, or of a failed attempt."""

    QUEUED = "Queued"
    RUNNING = "Running"
    RETRY_SCHEDULED = "RetryScheduled"
    SUSPENDED = "Suspended"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    DEPENDENCY_MISSING = "DependencyMissing"

    SETUP_SUCCEEDED = "SetupSucceeded"
    ALREADY_SET_UP = "AlreadySetUp"

    STEP_FAILED = "StepFailed"
    ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
    PROJECT_NOT_FOUND = "ProjectNotFound"
    PROJECT_INVALID_STATE = "ProjectInvalidState"
    PROJECT_CLAIMED = "ProjectClaimed"
    INVALID_SPEC = "InvalidSpec"
    CANCELLED = "Cancelled"

    STEP_TRANSIENT = "StepTransient"
    STEP_TIMED_OUT = "StepTimedOut"
    STEP_KILLED = "StepKilled"
    INTERRUPTED = "Interrupted"
    ENGINE_ERROR = "EngineError"


WAITING: Final = frozenset(
    {
        Reason.QUEUED,
        Reason.RUNNING,
        Reason.RETRY_SCHEDULED,
        Reason.SUSPENDED,
        Reason.DATABASE_UNAVAILABLE,
        Reason.DEPENDENCY_MISSING,
    }
)
"""`Succeeded` is Unknown: the setup has not finished."""

SUCCESSES: Final = frozenset({Reason.SETUP_SUCCEEDED, Reason.ALREADY_SET_UP})
"""`Succeeded` is True: the project is ready."""

TERMINAL_FAILURES: Final = frozenset(
    {
        Reason.STEP_FAILED,
        Reason.ATTEMPTS_EXHAUSTED,
        Reason.PROJECT_NOT_FOUND,
        Reason.PROJECT_INVALID_STATE,
        Reason.PROJECT_CLAIMED,
        Reason.INVALID_SPEC,
        Reason.CANCELLED,
    }
)
"""`Succeeded` is False: the setup has failed or was cancelled, and only a manual retry starts it again."""

RETRYABLE: Final = frozenset(
    {
        Reason.STEP_TRANSIENT,
        Reason.STEP_TIMED_OUT,
        Reason.STEP_KILLED,
        Reason.INTERRUPTED,
        Reason.ENGINE_ERROR,
    }
)
"""Reasons of a failed attempt that is retried while attempts are left."""


class EventReason(StrEnum):
    """Reason of an event on the resource."""

    STARTED = "Started"
    RETRY_SCHEDULED = "RetryScheduled"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    RETRY_REQUESTED = "RetryRequested"
    RETRY_COALESCED = "RetryCoalesced"
    RETRY_IGNORED = "RetryIgnored"
    CANCEL_IGNORED = "CancelIgnored"
    DEPENDENCY_MISSING = "DependencyMissing"


class Phase(StrEnum):
    """Summary for people, derived from the conditions. Tools should read the conditions."""

    QUEUED = "Queued"
    RUNNING = "Running"
    BACKING_OFF = "BackingOff"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


OVER: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED})
"""Phases of a finished setup."""


class AttemptOutcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
