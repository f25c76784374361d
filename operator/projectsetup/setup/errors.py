"""What ends a setup without an outcome."""

from __future__ import annotations

from enum import StrEnum


class FailureReason(StrEnum):
    """Why an attempt broke; each is worth another attempt."""

    STEP_TRANSIENT = "StepTransient"
    STEP_TIMED_OUT = "StepTimedOut"
    STEP_KILLED = "StepKilled"
    INTERRUPTED = "Interrupted"
    ENGINE_ERROR = "EngineError"


class InfrastructureError(Exception):
    """The attempt broke, through no fault of the project. The message is one line without secrets."""

    def __init__(
        self, reason: FailureReason, message: str, *, step: str | None = None, exit_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.step = step
        self.exit_code = exit_code


class NotStarted(InfrastructureError):
    """Nothing of the attempt could begin yet, for a reason that passes without the project: it does not count."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureReason.ENGINE_ERROR, message)


class SetupStopped(Exception):
    """The setup ended early because its runner was asked to stop; nothing of it is alive."""
