"""Whether a ProjectSetup may claim its project, and whether a ready project is what it asks for."""

from __future__ import annotations

from dataclasses import dataclass

from projectsetup.api.models import Commits, ProjectSetupResource
from projectsetup.api.reasons import Reason
from projectsetup.api.spec import ProjectFields
from projectsetup.controller.outcome import AttemptEnd, EndKind
from projectsetup.projects.claims import hidden_from, refusal
from projectsetup.projects.errors import ClaimRefused, InvalidProject, NoSuchProject, ProjectElsewhere, ProjectOwned
from projectsetup.projects.model import Owner, Project
from projectsetup.projects.validation import check_description, check_name

_LONGEST_VALUE = 64
"""Characters of a parameter's value that a message quotes."""


@dataclass(frozen=True, slots=True)
class ClaimRefusal:
    """Why the project cannot be claimed, in the terms of `.status`; `owner` holds the claim, if somebody does."""

    reason: Reason
    message: str
    owner: Owner | None = None


def claim_refusal(resource: ProjectSetupResource, project: Project | None) -> ClaimRefusal | None:
    """None if this ProjectSetup may claim the project."""
    refused = refusal(resource.project_id, project, resource.uid, namespace=resource.namespace)
    return None if refused is None else _translate(refused)


def hiding(resource: ProjectSetupResource, project: Project | None, *, namespace_required: bool) -> ClaimRefusal | None:
    """Why nothing of the project may be disclosed to this ProjectSetup; None if it may see the project."""
    hidden = hidden_from(resource.namespace, resource.project_id, project, namespace_required=namespace_required)
    return None if hidden is None else _translate(hidden)


def _translate(refused: ClaimRefused) -> ClaimRefusal:
    match refused:
        case NoSuchProject():
            return ClaimRefusal(Reason.PROJECT_NOT_FOUND, str(refused))
        case ProjectElsewhere():
            return ClaimRefusal(Reason.PROJECT_CLAIMED, str(refused))
        case ProjectOwned():
            return ClaimRefusal(Reason.PROJECT_CLAIMED, str(refused), refused.owner)
    return ClaimRefusal(Reason.PROJECT_INVALID_STATE, str(refused))


def commits_of_ready(resource: ProjectSetupResource, project: Project) -> Commits | None:
    """The commits of the setup that made the project ready; only namespaces that own the project see them."""
    done = _success(project)
    return done.commits if done is not None and project.namespace == resource.namespace else None


def difference(resource: ProjectSetupResource, project: Project) -> str | None:
    """How the request differs from what the ready project was set up with; None if it does not.

    A project that an older version set up, or that was marked ready by hand, matches every request.
    """
    done, spec = _success(project), resource.spec
    if done is None or done.recipe is None or spec is None:
        return None
    if done.recipe != spec.recipe:
        return f"recipe {done.recipe}, but this ProjectSetup requests recipe {spec.recipe}"
    before, now = done.parameters or {}, spec.parameters
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not names:
        return None
    requested, had = (", ".join(_parameter(name, values.get(name)) for name in names) for values in (now, before))
    return f"{had}, but this ProjectSetup requests {requested}"


def spec_difference(wanted: ProjectFields, project: Project) -> str | None:
    """The first field of `spec.project` that differs from the project; None if all given fields match."""
    try:
        name, description = check_name(wanted.name), check_description(wanted.description or "")
    except InvalidProject as exc:
        return f"spec.project: {exc}"
    fields = (
        ("name", name, project.name),
        ("codeRepo", wanted.code_repo, project.code_repo),
        ("docsRepo", wanted.docs_repo, project.docs_repo),
        ("description", description if wanted.description is not None else None, project.description),
    )
    for field, given, recorded in fields:
        if given is not None and given != recorded:
            had = "none" if recorded is None else repr(_short(recorded))
            return f"spec.project.{field} is {_short(given)!r}, but the project's is {had}"
    return None


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def _success(project: Project) -> AttemptEnd | None:
    if not project.attempt_result:
        return None
    end = AttemptEnd.from_result(project.attempt_result)
    return end if end.kind is EndKind.SUCCEEDED else None


def _parameter(name: str, value: str | None) -> str:
    if value is None:
        return f"no {name}"
    return f"{name}={_short(value)!r}"
