"""Whether a ProjectSetup may claim its project: the record's own rule, told in the words of `.status`."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from projectsetup.api.reasons import Reason
from projectsetup.projects.claims import refusal
from projectsetup.projects.errors import NoSuchProject, ProjectOwned
from projectsetup.projects.model import Owner, Project


@dataclass(frozen=True, slots=True)
class ClaimRefusal:
    """Why the project cannot be claimed; `owner` is who holds it, when somebody does."""

    reason: Reason
    message: str
    owner: Owner | None = None


def claim_refusal(project_id: UUID, project: Project | None, uid: str) -> ClaimRefusal | None:
    """None when the ProjectSetup with this uid may claim the project."""
    refused = refusal(project_id, project, uid)
    match refused:
        case None:
            return None
        case NoSuchProject():
            return ClaimRefusal(Reason.PROJECT_NOT_FOUND, str(refused))
        case ProjectOwned():
            return ClaimRefusal(Reason.PROJECT_CLAIMED, str(refused), refused.owner)
    return ClaimRefusal(Reason.PROJECT_INVALID_STATE, str(refused))
