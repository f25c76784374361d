"""Why a claim is refused: the rule of `statements.CLAIM`, said about a row that was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectsetup.projects.errors import ClaimRefused, NoSuchProject, ProjectNotClaimable, ProjectOwned
from projectsetup.projects.model import IN_PROGRESS, ProjectStatus

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.projects.model import Project

_STARTS_FROM = frozenset({ProjectStatus.CREATED, ProjectStatus.SETUP_QUEUED, ProjectStatus.FAILED})


def refusal(project_id: UUID, project: Project | None, owner_uid: str | None) -> ClaimRefused | None:
    """What keeps `owner_uid` (None: somebody who owns nothing yet) from the project; None: nothing does."""
    if project is None:
        return NoSuchProject(project_id)
    if project.being_set_up and project.owner is not None and project.owner.uid != owner_uid:
        return ProjectOwned(project_id, project.owner)
    is_own = project.owner is not None and project.owner.uid == owner_uid
    if project.status in _STARTS_FROM or (is_own and project.status in IN_PROGRESS):
        return None
    return ProjectNotClaimable(project_id, project.status)
