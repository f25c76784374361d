"""The project record: one row for each project, claimed by one ProjectSetup at a time.

`migrate` must be imported by itself: only the command that migrates needs Alembic.
"""

from projectsetup.projects.errors import (
    AlreadyTaken,
    ClaimRefused,
    DatabaseUnavailable,
    InvalidDatabaseUrl,
    InvalidProject,
    MigrationFailed,
    NoSuchProject,
    ProjectBusy,
    ProjectElsewhere,
    ProjectMoved,
    ProjectNotClaimable,
    ProjectOwned,
    RecordError,
)
from projectsetup.projects.model import Owner, Project, ProjectStatus
from projectsetup.projects.record import ProjectRecord

__all__ = [
    "AlreadyTaken",
    "ClaimRefused",
    "DatabaseUnavailable",
    "InvalidDatabaseUrl",
    "InvalidProject",
    "MigrationFailed",
    "NoSuchProject",
    "Owner",
    "Project",
    "ProjectBusy",
    "ProjectElsewhere",
    "ProjectMoved",
    "ProjectNotClaimable",
    "ProjectOwned",
    "ProjectRecord",
    "ProjectStatus",
    "RecordError",
]
