"""The project record: one row a project, claimed by one ProjectSetup at a time."""

from projectsetup.projects.errors import (
    ClaimRefused,
    DatabaseUnavailable,
    InvalidDatabaseUrl,
    InvalidProject,
    MigrationFailed,
    NoSuchProject,
    ProjectBusy,
    ProjectMoved,
    ProjectNotClaimable,
    ProjectOwned,
    RecordError,
)
from projectsetup.projects.migrate import migrate
from projectsetup.projects.model import Owner, Project, ProjectStatus
from projectsetup.projects.record import ProjectRecord

__all__ = [
    "ClaimRefused",
    "DatabaseUnavailable",
    "InvalidDatabaseUrl",
    "InvalidProject",
    "MigrationFailed",
    "NoSuchProject",
    "Owner",
    "Project",
    "ProjectBusy",
    "ProjectMoved",
    "ProjectNotClaimable",
    "ProjectOwned",
    "ProjectRecord",
    "ProjectStatus",
    "RecordError",
    "migrate",
]
