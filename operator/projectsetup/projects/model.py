"""A project of the record: values only, no I/O."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID


SLUG_LENGTH = 40


class ProjectStatus(StrEnum):
    """Status of a project."""

    CREATED = "created"
    SETUP_QUEUED = "setup_queued"
    INITIALIZING = "initializing"
    DEPS_INSTALLING = "deps_installing"
    SETTING_UP_AUTH = "setting_up_auth"
    COMPILING = "compiling"
    TESTING = "testing"
    COMMITTING = "committing"
    READY = "ready"
    FAILED = "failed"


IN_PROGRESS = frozenset(
    {
        ProjectStatus.INITIALIZING,
        ProjectStatus.DEPS_INSTALLING,
        ProjectStatus.SETTING_UP_AUTH,
        ProjectStatus.COMPILING,
        ProjectStatus.TESTING,
        ProjectStatus.COMMITTING,
    }
)
"""Statuses while a step runs."""

ENDED = frozenset({ProjectStatus.READY, ProjectStatus.FAILED})
"""Statuses after a setup has finished; its owner no longer holds the project."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The ProjectSetup that owns the setup of a project."""

    uid: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Project:
    """One row of the record.

    `fence` grows with every claim, end and release; a write with an older fence changes nothing.
    `attempt_result` is the recorded end of the last attempt, until the next claim.
    `namespace` is the one that the project belongs to; None until the first claim sets it.
    """

    id: UUID
    name: str
    description: str
    code_repo: str
    docs_repo: str | None
    status: ProjectStatus
    setup_error: Mapping[str, Any] | None
    owner: Owner | None
    attempt: int
    fence: int
    attempt_result: Mapping[str, Any] | None
    inserted_at: datetime
    updated_at: datetime
    namespace: str | None = None

    @classmethod
    def from_row(cls, row: Any) -> Project:
        """The project in a row of the table."""
        owner = None if row.owner_uid is None else Owner(row.owner_uid, row.owner_namespace, row.owner_name)
        return cls(
            id=row.id,
            name=row.name,
            description=row.description or "",
            namespace=row.namespace,
            code_repo=row.code_repo,
            docs_repo=row.docs_repo,
            status=ProjectStatus(row.status),
            setup_error=row.setup_error,
            owner=owner,
            attempt=row.attempt,
            fence=row.fence,
            attempt_result=row.attempt_result,
            inserted_at=row.inserted_at.astimezone(UTC),
            updated_at=row.updated_at.astimezone(UTC),
        )

    @property
    def slug(self) -> str:
        """The name as a package or directory name (see `slug_of`)."""
        return slug_of(self.name, self.id)

    @property
    def being_set_up(self) -> bool:
        """Whether a setup runs, or is queued by an owner."""
        return self.status in IN_PROGRESS or (self.status is ProjectStatus.SETUP_QUEUED and self.owner is not None)

    def to_dict(self) -> dict[str, Any]:
        """The columns by name, as JSON values."""
        return {
            "id": str(self.id),
            "name": self.name,
            "description": self.description,
            "code_repo": self.code_repo,
            "docs_repo": self.docs_repo,
            "namespace": self.namespace,
            "status": str(self.status),
            "setup_error": self.setup_error,
            "owner_uid": self.owner and self.owner.uid,
            "owner_namespace": self.owner and self.owner.namespace,
            "owner_name": self.owner and self.owner.name,
            "attempt": self.attempt,
            "fence": self.fence,
            "attempt_result": self.attempt_result,
            "inserted_at": self.inserted_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }


def slug_of(name: str, project_id: UUID) -> str:
    """The name as 1 to 40 characters of `a-z0-9-`: a letter first, no dash at the end, accents removed.

    If nothing remains, `project-` and the first 8 characters of the id.
    """
    folded = unicodedata.normalize("NFKD", name).casefold().encode("ascii", "ignore").decode()
    slug = "-".join(re.findall(r"[a-z0-9]+", folded))
    if not slug:
        return f"project-{str(project_id)[:8]}"
    if slug[0].isdigit():
        slug = f"project-{slug}"
    return slug[:SLUG_LENGTH].rstrip("-")


class RequestKind(StrEnum):
    """What a row of `setup_requests` asks for."""

    SETUP = "setup"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """The oldest request for a project that was not handled yet, with what its project is like now.

    `number` grows with each request. Of what is asked for, None means the default. `cancelled_by` is the id of a cancel
    that was requested after it. If `is_too_large`, its parameters were not read.
    """

    id: UUID
    number: int
    project_id: UUID
    kind: RequestKind
    recipe: str | None
    parameters: Mapping[str, str] | None
    priority: int | None
    max_attempts: int | None
    backoff: str | None
    credentials_secret: str | None
    cancelled_by: UUID | None
    project_status: ProjectStatus
    project_namespace: str | None
    urgency: int
    """Where it stands in the order, before its number: the priority, and before all of them a cancel."""
    project_is_owned: bool = False
    is_too_large: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many requests were not handled yet, and when the oldest one was made; None if there is none."""

    pending: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class PendingPage:
    """Requests to handle, in order, and the backlog that they belong to."""

    requests: tuple[PendingRequest, ...]
    backlog: Backlog
