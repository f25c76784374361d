"""How an attempt, or a whole setup, ended: written to the record first and to `.status` from the same value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from projectsetup.api.models import Commits, Failure
from projectsetup.api.reasons import Reason
from projectsetup.projects.model import ProjectStatus


class EndKind(StrEnum):
    """What follows from an end."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    RETRY = "RetryScheduled"
    RETURNED = "Returned"
    """The attempt was given back: it does not count."""


class AttemptEnd(BaseModel):
    """The end of attempt number `attempt` (0: nothing had been started).

    `reason` is the one of the `Succeeded` condition; `failure` tells the last thing that went wrong.
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
    """The step at which it ended; None where `.status` tells that already, as after a crash."""
    progress: str | None = None
    recipe: str | None = None
    """What the project was set up with, and `parameters`; None unless it succeeded."""
    parameters: dict[str, str] | None = None

    @property
    def attempts_left_used(self) -> int:
        """Attempts that count as started after this end."""
        return max(self.attempt - 1, 0) if self.kind is EndKind.RETURNED else self.attempt

    @property
    def project_status(self) -> ProjectStatus:
        """The status of the project in its record after this end."""
        match self.kind:
            case EndKind.SUCCEEDED:
                return ProjectStatus.READY
            case EndKind.RETRY | EndKind.RETURNED:
                return ProjectStatus.SETUP_QUEUED
            case EndKind.FAILED | EndKind.CANCELLED:
                return ProjectStatus.FAILED

    @property
    def setup_error(self) -> dict[str, Any] | None:
        """The record's `setup_error`: `{reason, step, message}` of a terminal failure or cancel, else nothing."""
        if self.kind not in {EndKind.FAILED, EndKind.CANCELLED}:
            return None
        step = self.failure.step if self.failure else None
        return {"reason": str(self.reason), "step": step, "message": self.message}

    def to_result(self) -> dict[str, Any]:
        """What the record keeps, so that `.status` can be completed after a crash."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> AttemptEnd:
        """The end that `to_result` wrote."""
        return cls.model_validate(result)
