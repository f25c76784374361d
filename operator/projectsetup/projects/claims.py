"""Why a claim is refused: the rule of `statements.CLAIM`, said about a row that was read."""

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
    """Why a ProjectSetup of `namespace` may know nothing of the project; None: it may.

    With `namespace_required` a project that belongs nowhere yet is hidden from all.
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
    """What keeps `owner_uid` (None: somebody who owns nothing yet) in `namespace` from the project; None: nothing."""
    hidden = hidden_from(namespace, project_id, project, namespace_required=namespace_required)
    if hidden is not None or project is None:
        return hidden
    if project.being_set_up and project.owner is not None and project.owner.uid != owner_uid:
        return ProjectOwned(project_id, project.owner)
    is_own = project.owner is not None and project.owner.uid == owner_uid
    if project.status in _STARTS_FROM or (is_own and project.status in IN_PROGRESS):
        return None
    return ProjectNotClaimable(project_id, project.status)
