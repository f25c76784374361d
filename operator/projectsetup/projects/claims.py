"""Why a claim is refused: the conditions of `statements.CLAIM`, applied to a row that was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectsetup.projects.errors import (
    ClaimRefused,
    NoSuchProject,
    ProjectElsewhere,
    ProjectNotClaimable,
    ProjectOwned,
)
from projectsetup.projects.model import IN_PROGRESS, ProjectStatus

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.projects.model import Project

_STARTS_FROM = frozenset({ProjectStatus.CREATED, ProjectStatus.SETUP_QUEUED, ProjectStatus.FAILED})


def hidden_from(
    namespace: str, project_id: UUID, project: Project | None, *, namespace_required: bool
) -> NoSuchProject | ProjectElsewhere | None:
    """Why a ProjectSetup of `namespace` may learn nothing about the project; None if it may.

    With `namespace_required`, a project without a namespace is hidden from all.
    """
    if project is None or (project.namespace is None and namespace_required):
        return NoSuchProject(project_id, or_unassigned=namespace_required)
    if project.namespace not in {None, namespace}:
        return ProjectElsewhere(project_id)
    return None


def refusal(
    project_id: UUID,
    project: Project | None,
    owner_uid: str | None,
    *,
    namespace: str,
    namespace_required: bool = False,
) -> ClaimRefused | None:
    """Why `owner_uid` in `namespace` may not claim the project; None if it may. `owner_uid` is None for a new owner."""
    hidden = hidden_from(namespace, project_id, project, namespace_required=namespace_required)
    if hidden is not None or project is None:
        return hidden
    if project.being_set_up and project.owner is not None and project.owner.uid != owner_uid:
        return ProjectOwned(project_id, project.owner)
    is_own = project.owner is not None and project.owner.uid == owner_uid
    if project.status in _STARTS_FROM or (is_own and project.status in IN_PROGRESS):
        return None
    return ProjectNotClaimable(project_id, project.status)
