"""Errors of the project record. Every message is one line without secrets."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.projects.model import Owner, Project, ProjectStatus


class RecordError(Exception):
    """Base of all errors of the project record."""


class DatabaseErrorKind(StrEnum):
    """Kinds of database errors, the values of a metric label."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUSY = "busy"
    """No free connection, memory, disk space or lock."""
    RIGHTS = "rights"
    """The login was refused or lacks rights."""
    SCHEMA = "schema"
    """The database or its tables are missing or of another version."""
    SERVER = "server"
    """The server is read-only or has an internal error."""


class DatabaseUnavailable(RecordError):
    """The database cannot answer now; it may later, or once an administrator has fixed it.

    An interrupted write may have taken place: read the record again before deciding anything.
    """

    def __init__(self, message: str, kind: DatabaseErrorKind = DatabaseErrorKind.BUSY) -> None:
        super().__init__(message)
        self.kind = kind


class InvalidDatabaseUrl(RecordError, ValueError):
    """The database URL cannot be used; the message never repeats the URL."""


class MigrationFailed(RecordError):
    """The schema cannot be migrated, and waiting does not help."""


class InvalidProject(RecordError, ValueError):
    """The values are not allowed for a project."""


class AlreadyTaken(InvalidProject):
    """Another project, `holder` if it could be read, has this value. `str` reveals nothing about that project."""

    def __init__(self, field: str, value: object, holder: Project | None) -> None:
        super().__init__(f"another project already has this {field}: {value}")
        self._message = f"{field}: {value}"
        self.holder = holder

    def naming_holder(self) -> str:
        """The message for someone who may see the other project."""
        if self.holder is None:
            return str(self)
        return f"project {self.holder.name} ({self.holder.id}) already has this {self._message}"


class UniqueViolation(RecordError):
    """A row with that value already exists; `constraint` is the name of the violated constraint."""

    def __init__(self, constraint: str) -> None:
        super().__init__(f"unique constraint {constraint} violated")
        self.constraint = constraint


class ClaimRefused(RecordError):
    """The caller may not set up the project."""


class NoSuchProject(ClaimRefused):
    """No project has that id or, with `or_unassigned`, no project that belongs to a namespace.

    The message does not say which: it must not reveal a project of another namespace.
    """

    def __init__(self, project_id: UUID, *, or_unassigned: bool = False) -> None:
        advice = "if it exists, an administrator can assign one with `projectsetup projects update --namespace`"
        scope = f" with a namespace; {advice}" if or_unassigned else ""
        super().__init__(f"there is no project {project_id}{scope}")
        self.project_id = project_id


class ProjectElsewhere(ClaimRefused):
    """The project belongs to another namespace; the message reveals nothing else about it."""

    def __init__(self, project_id: UUID) -> None:
        super().__init__(
            f"project {project_id} belongs to another namespace; "
            "an administrator can move it with `projectsetup projects update --namespace`"
        )
        self.project_id = project_id


class ProjectNotClaimable(ClaimRefused):
    """The status of the project does not allow a setup."""

    def __init__(self, project_id: UUID, status: ProjectStatus) -> None:
        super().__init__(f"project {project_id} is {status}; a setup can start from created, setup_queued or failed")
        self.project_id = project_id
        self.status = status


class ProjectOwned(ClaimRefused):
    """Another ProjectSetup that has not finished owns the project."""

    def __init__(self, project_id: UUID, owner: Owner) -> None:
        super().__init__(f"project {project_id} is being set up by ProjectSetup {owner}")
        self.project_id = project_id
        self.owner = owner


class ProjectMoved(ClaimRefused):
    """The setup was claimed, ended or released since the project was read."""

    def __init__(self, project_id: UUID) -> None:
        super().__init__(f"the setup of project {project_id} has changed since it was read")
        self.project_id = project_id


class ProjectBusy(RecordError):
    """The project is being set up, so it cannot be changed or deleted."""

    def __init__(self, project_id: UUID, status: ProjectStatus) -> None:
        super().__init__(f"project {project_id} is being set up ({status}); cancel its setup first")
        self.project_id = project_id
        self.status = status
