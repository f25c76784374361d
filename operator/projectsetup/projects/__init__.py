"""The project record: one row a project, claimed by one ProjectSetup at a time.

`migrate` is not imported with it: only who brings the tables up to date needs Alembic.
"""

from projectsetup.projects.errors import (
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
