"""Whether a ProjectSetup may claim its project: the record's own rule, told in the words of `.status`."""

from __future__ import annotations

from dataclasses import dataclass

from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import Reason
from projectsetup.projects.claims import hidden_from, refusal
from projectsetup.projects.errors import ClaimRefused, NoSuchProject, ProjectElsewhere, ProjectOwned
from projectsetup.projects.model import Owner, Project


@dataclass(frozen=True, slots=True)
class ClaimRefusal:
    """Why the project cannot be claimed; `owner` is who holds it, when somebody does."""

    reason: Reason
    message: str
    owner: Owner | None = None


def claim_refusal(resource: ProjectSetupResource, project: Project | None) -> ClaimRefusal | None:
    """None when this ProjectSetup may claim the project."""
    refused = refusal(resource.project_id, project, resource.uid, namespace=resource.namespace)
    return None if refused is None else _told(refused)


def hiding(resource: ProjectSetupResource, project: Project | None, *, namespace_required: bool) -> ClaimRefusal | None:
    """Why nothing of the project may be known to this ProjectSetup; None when it may see it."""
    hidden = hidden_from(resource.namespace, resource.project_id, project, namespace_required=namespace_required)
    return None if hidden is None else _told(hidden)


def _told(refused: ClaimRefused) -> ClaimRefusal:
    match refused:
        case NoSuchProject():
            return ClaimRefusal(Reason.PROJECT_NOT_FOUND, str(refused))
        case ProjectElsewhere():
            return ClaimRefusal(Reason.PROJECT_CLAIMED, str(refused))
        case ProjectOwned():
            return ClaimRefusal(Reason.PROJECT_CLAIMED, str(refused), refused.owner)
    return ClaimRefusal(Reason.PROJECT_INVALID_STATE, str(refused))
