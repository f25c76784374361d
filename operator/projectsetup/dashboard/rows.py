"""One ProjectSetup as the page shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from projectsetup.api.models import ProjectSetupResource, Rank
from projectsetup.api.reasons import OVER, AttemptOutcome, Phase, Reason

_SELF_EXPLANATORY: Final = frozenset({Reason.QUEUED, Reason.RUNNING})
"""Reasons whose message adds nothing to phase and step."""


class EndKind(StrEnum):
    """How the end of an attempt or setup counts."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Failed for good, or cancelled."""
    RETRIED = "retried"
    """A failed attempt that was followed, or will be followed, by another."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of an attempt or setup."""

    at: datetime
    kind: EndKind


@dataclass(frozen=True, slots=True)
class Progress:
    """Completed steps of an attempt, and their total number."""

    completed: int
    total: int


@dataclass(frozen=True, slots=True)
class Row:
    """What the page shows of a ProjectSetup; it depends on the object alone, so it is valid until that changes."""

    namespace: str
    name: str
    project: str
    """The project's name; empty while unknown."""
    phase: Phase
    seen: bool
    """Whether an operator has seen it."""
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
    requested: str
    """The request in the annotations that is not handled yet: `retry`, `cancel` or nothing."""
    ends: tuple[End, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    def matches(self, search: str) -> bool:
        """Whether the project's name or id contains this, in whatever case."""
        wanted = search.casefold()
        return wanted in self.project.casefold() or wanted in self.name

    @property
    def can_retry(self) -> bool:
        """Whether a retry would have an effect."""
        return not self.requested and self.phase in {Phase.FAILED, Phase.CANCELLED, Phase.BACKING_OFF}

    @property
    def can_cancel(self) -> bool:
        """Whether a cancel would have an effect."""
        return self.requested != "cancel" and self.phase not in OVER


def row_of(resource: ProjectSetupResource) -> Row:
    """Make the row of a ProjectSetup."""
    status, tuning = resource.status, resource.tuning
    condition, failure, commits = resource.condition, status.failure, status.commits
    phase = status.phase or Phase.QUEUED
    reason, message = (condition.reason, condition.message) if condition else ("", resource.problem or "")
    if phase is Phase.BACKING_OFF and failure is not None:
        reason, message = failure.reason, failure.message
    return Row(
        namespace=resource.namespace,
        name=resource.name,
        project=resource.project_name or "",
        phase=phase,
        seen=condition is not None,
        recipe=resource.recipe or "",
        rank=resource.rank,
        attempt=f"{status.attempt}/{status.max_attempts or (tuning.max_attempts if tuning else '?')}",
        project_status=status.project_status or "",
        step=status.step or (failure.step if failure else None) or "",
        progress=_progress(status.progress),
        reason=reason,
        message="" if reason in _SELF_EXPLANATORY else message,
        exit_code=failure.exit_code if failure else None,
        started_at=status.started_at,
        finished_at=status.finished_at,
        next_attempt_at=status.next_attempt_at,
        code_commit=(commits.code_repo if commits else None) or "",
        docs_commit=(commits.docs_repo if commits else None) or "",
        requested=_requested(resource),
        ends=_ends(resource, phase),
    )


def address_of(setup: Row | ProjectSetupResource) -> str:
    """Return the path of a setup's page."""
    return f"/setups/{quote(setup.namespace, safe='')}/{quote(setup.name, safe='')}"


def _progress(text: str | None) -> Progress | None:
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text or "")
    return Progress(int(found[1]), int(found[2])) if found else None


def _requested(resource: ProjectSetupResource) -> str:
    """A cancel wins over a retry, as it does in the operator."""
    if resource.cancel_is_new:
        return "cancel"
    return "retry" if resource.retry_is_new else ""


def _ends(resource: ProjectSetupResource, phase: Phase) -> tuple[End, ...]:
    """Return the end of the setup, if it has ended, and of each earlier attempt that failed."""
    status = resource.status
    over = status.finished_at if phase in OVER else None
    retried = [
        End(attempt.finished_at, EndKind.RETRIED)
        for attempt in status.attempts
        if attempt.outcome is AttemptOutcome.FAILED and attempt.finished_at != over
    ]
    kind = EndKind.SUCCEEDED if phase is Phase.SUCCEEDED else EndKind.FAILED
    return (*retried, End(over, kind)) if over else tuple(retried)
