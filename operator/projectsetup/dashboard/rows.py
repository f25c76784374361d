"""One ProjectSetup as the page shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from projectsetup.api.models import ProjectSetupResource, Rank
from projectsetup.api.reasons import OVER, AttemptOutcome, Phase, Reason

_UNTOLD: Final = frozenset({Reason.QUEUED, Reason.RUNNING})
"""Reasons of which the phase and the step tell as much as the message."""


class EndKind(StrEnum):
    """What an attempt that ended, or a setup that is over, counts as."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Failed for good, or cancelled."""
    BROKEN = "broken"
    """An attempt that was not the last word: another one followed, or is to follow."""


@dataclass(frozen=True, slots=True)
class End:
    """One thing that ended."""

    at: datetime
    kind: EndKind


@dataclass(frozen=True, slots=True)
class Progress:
    """Completed steps of an attempt, and their total number."""

    completed: int
    total: int


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of a ProjectSetup; it depends on nothing but the object, so it holds until that changes."""

    namespace: str
    name: str
    phase: Phase
    seen: bool
    """Whether an operator has looked at it yet."""
    recipe: str
    rank: Rank
    """The priority is 0, as for the operator, when an annotation is invalid."""
    attempt: str
    project_status: str
    step: str
    progress: Progress | None
    reason: str
    message: str
    exit_code: int | None
    started_at: datetime | None
    finished_at: datetime | None
    next_attempt_at: datetime | None
    code_commit: str
    docs_commit: str
    asked: str
    """What was asked for by annotation and is not acted on yet: `retry`, `cancel` or nothing."""
    ends: tuple[End, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def can_retry(self) -> bool:
        """Whether a retry changes anything."""
        return not self.asked and self.phase in {Phase.FAILED, Phase.CANCELLED, Phase.BACKING_OFF}

    @property
    def can_cancel(self) -> bool:
        """Whether there is anything to cancel."""
        return self.asked != "cancel" and self.phase not in OVER


def row_of(resource: ProjectSetupResource) -> Row:
    """The row of a ProjectSetup."""
    status, tuning = resource.status, resource.tuning
    condition, failure, commits = resource.condition, status.failure, status.commits
    phase = status.phase or Phase.QUEUED
    reason, message = (condition.reason, condition.message) if condition else ("", resource.problem or "")
    if phase is Phase.BACKING_OFF and failure is not None:
        reason, message = failure.reason, failure.message
    return Row(
        namespace=resource.namespace,
        name=resource.name,
        phase=phase,
        seen=condition is not None,
        recipe=resource.spec.recipe if resource.spec else "",
        rank=resource.rank,
        attempt=f"{status.attempt}/{status.max_attempts or (tuning.max_attempts if tuning else '?')}",
        project_status=status.project_status or "",
        step=status.step or (failure.step if failure else None) or "",
        progress=_progress(status.progress),
        reason=reason,
        message="" if reason in _UNTOLD else message,
        exit_code=failure.exit_code if failure else None,
        started_at=status.started_at,
        finished_at=status.finished_at,
        next_attempt_at=status.next_attempt_at,
        code_commit=(commits.code_repo if commits else None) or "",
        docs_commit=(commits.docs_repo if commits else None) or "",
        asked=_asked(resource),
        ends=_ends(resource, phase),
    )


def _progress(text: str | None) -> Progress | None:
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text or "")
    return Progress(int(found[1]), int(found[2])) if found else None


def _asked(resource: ProjectSetupResource) -> str:
    """A cancel wins over a retry, as it does in the operator."""
    if resource.cancel_is_new:
        return "cancel"
    return "retry" if resource.retry_is_new else ""


def _ends(resource: ProjectSetupResource, phase: Phase) -> tuple[End, ...]:
    """The end of the setup, if it is over, and of each attempt before that did not succeed."""
    status = resource.status
    over = status.finished_at if phase in OVER else None
    broken = [
        End(attempt.finished_at, EndKind.BROKEN)
        for attempt in status.attempts
        if attempt.outcome is AttemptOutcome.FAILED and attempt.finished_at != over
    ]
    kind = EndKind.SUCCEEDED if phase is Phase.SUCCEEDED else EndKind.FAILED
    return (*broken, End(over, kind)) if over else tuple(broken)
