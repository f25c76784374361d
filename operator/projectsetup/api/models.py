"""The models of the resource, under one name."""

from __future__ import annotations

from projectsetup.api.resource import ProjectSetupResource, Rank, essence, parse_project_id, parse_resource
from projectsetup.api.spec import CredentialsSecretRef, ProjectSetupSpec
from projectsetup.api.status import (
    AttemptRecord,
    Commits,
    Condition,
    ConditionStatus,
    Failure,
    ProjectSetupStatus,
    RunRef,
    status_to_dict,
    stored_status,
)

__all__ = [
    "AttemptRecord",
    "Commits",
    "Condition",
    "ConditionStatus",
    "CredentialsSecretRef",
    "Failure",
    "ProjectSetupResource",
    "ProjectSetupSpec",
    "ProjectSetupStatus",
    "Rank",
    "RunRef",
    "essence",
    "parse_project_id",
    "parse_resource",
    "status_to_dict",
    "stored_status",
]
