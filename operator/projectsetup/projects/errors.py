"""What can go wrong with the project record. Every message is one line and holds no secret."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.projects.model import Owner, ProjectStatus


class RecordError(Exception):
    """Base of all errors of the project record."""


class Trouble(StrEnum):
    """Kinds of what the database may have."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUSY = "busy"
    """Connections, memory, disk or a lock are not to be had."""
    RIGHTS = "rights"
    """The login is refused, or may not do that."""
    SCHEMA = "schema"
    """The database or its tables are missing."""
    SERVER = "server"
    """It is read-only, or has an error of its own."""


class DatabaseUnavailable(RecordError):
    """The database cannot answer now, and waiting (or an administrator) may cure it.

    Whether an interrupted write took place is unknown: read the record again before deciding anything.
    """

    def __init__(self, message: str, trouble: Trouble = Trouble.BUSY) -> None:
        super().__init__(message)
        self.trouble = trouble


class InvalidDatabaseUrl(RecordError, ValueError):
    """The database URL cannot be used; the message never repeats the URL."""


class MigrationFailed(RecordError):
    """The schema cannot be brought up to date, and waiting does not help."""


class InvalidProject(RecordError, ValueError):
    """A project with these values may not exist."""


class UniqueViolation(RecordError):
    """A row with that value exists already; `constraint` is the name of the constraint."""

    def __init__(self, constraint: str) -> None:
        super().__init__(f"the unique constraint {constraint} is violated")
        self.constraint = constraint


class ClaimRefused(RecordError):
    """The project may not be set up by who asks."""


class NoSuchProject(ClaimRefused):
    """There is no project of that id, or, with `or_unassigned`, none that belongs to a namespace.

    The message does not tell the two apart: nobody learns of a project that is not theirs.
    """

    def __init__(self, project_id: UUID, *, or_unassigned: bool = False) -> None:
        missing = f"there is no project {project_id}"
        advice = "if it exists, an administrator can assign one with projectsetup projects update --namespace"
        super().__init__(f"{missing} that has a namespace; {advice}" if or_unassigned else missing)
        self.project_id = project_id


class ProjectElsewhere(ClaimRefused):
    """The project belongs to another namespace; the message tells nothing else of it."""

    def __init__(self, project_id: UUID) -> None:
        super().__init__(
            f"project {project_id} belongs to another namespace; "
            "an administrator can move it with projectsetup projects update --namespace"
        )
        self.project_id = project_id


class ProjectNotClaimable(ClaimRefused):
    """The status of the project does not allow a setup."""

    def __init__(self, project_id: UUID, status: ProjectStatus) -> None:
        super().__init__(f"project {project_id} is {status}; a setup starts from created, setup_queued or failed")
        self.project_id = project_id
        self.status = status


class ProjectOwned(ClaimRefused):
    """Another ProjectSetup, not terminal, owns the setup."""

    def __init__(self, project_id: UUID, owner: Owner) -> None:
        super().__init__(f"project {project_id} is being set up by ProjectSetup {owner}")
        self.project_id = project_id
        self.owner = owner


class ProjectMoved(ClaimRefused):
    """Somebody has claimed, ended or released its setup since the project was read."""

    def __init__(self, project_id: UUID) -> None:
        super().__init__(f"the setup of project {project_id} was changed since it was read")
        self.project_id = project_id


class ProjectBusy(RecordError):
    """The project is being set up and cannot be deleted or changed now."""

    def __init__(self, project_id: UUID, status: ProjectStatus) -> None:
        super().__init__(f"project {project_id} is being set up ({status}); cancel its setup first")
        self.project_id = project_id
        self.status = status
