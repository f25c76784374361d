"""What ends a setup without an outcome."""

from __future__ import annotations

from projectsetup.api.reasons import Reason


class InfrastructureError(Exception):
    """The attempt broke, through no fault of the project.

    `reason` is one of `api.reasons.RETRYABLE`; the message is one line without secrets.
    """

    def __init__(self, reason: Reason, message: str, *, step: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.step = step
        self.exit_code = exit_code


class NotStarted(InfrastructureError):
    """Nothing of the attempt could begin yet, for a reason that passes without the project: it does not count."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.ENGINE_ERROR, message)


class SetupStopped(Exception):
    """The setup ended early because its runner was asked to stop; nothing of it is alive."""
