"""What `setup` has to do, given what there is: one pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from projectsetup.api.constants import RETRY_REQUESTED_AT
from projectsetup.api.models import ProjectSetupResource
from projectsetup.cli.errors import CommandError
from projectsetup.cli.progress import summary
from projectsetup.cli.times import timestamp
from projectsetup.projects.claims import refusal
from projectsetup.projects.model import Project


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; None: not said."""

    recipe: str | None = None
    parameters: Mapping[str, str] | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, object]:
        """The fields of `.spec` that were asked for."""
        asked = {"recipe": self.recipe, "parameters": self.parameters}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Plan:
    """`mark`: mark the project `setup_queued`. `annotations`: those to set. `says`: what then is true."""

    mark: bool
    annotations: Mapping[str, str]
    says: str


def plan_setup(
    project_id: UUID,
    wish: Wish,
    resource: ProjectSetupResource | None,
    project: Project | None,
    now: datetime,
    *,
    namespace: str,
) -> Plan:
    """What is to be done so that the project is set up by the ProjectSetup of `namespace`, there already or new.

    Raises ClaimRefused when the project's namespace, status or owner does not allow it, CommandError when the
    ProjectSetup does not.
    """
    if resource is None:
        _check_claimable(project_id, namespace, project, None)
        return Plan(mark=True, annotations=wish.annotations, says="is created; the project is queued")
    _check_changeable(resource, wish)
    if not resource.is_over and project is not None and project.owner is not None and project.owner.uid == resource.uid:
        return Plan(mark=False, annotations=wish.annotations, says=f"is on its way already: {summary(resource, now)}")
    _check_claimable(project_id, namespace, project, resource.uid)
    if not resource.is_over:
        return Plan(mark=True, annotations=wish.annotations, says="is there already; the project is queued")
    if resource.succeeded:
        raise CommandError(
            f"ProjectSetup {_place(resource)} has succeeded already; to set up anew {_deletion(resource)}"
        )
    retry = {RETRY_REQUESTED_AT: timestamp(now)}
    return Plan(mark=True, annotations={**wish.annotations, **retry}, says="begins a new series of attempts")


def _check_claimable(project_id: UUID, namespace: str, project: Project | None, uid: str | None) -> None:
    refused = refusal(project_id, project, uid, namespace=namespace)
    if refused is not None:
        raise refused


def _check_changeable(resource: ProjectSetupResource, wish: Wish) -> None:
    if resource.deleting:
        raise CommandError(f"ProjectSetup {_place(resource)} is being deleted: try again when it is gone")
    if resource.spec is None:
        return
    if wish.recipe is not None and wish.recipe != resource.spec.recipe:
        raise CommandError(
            f"ProjectSetup {_place(resource)} has recipe {resource.spec.recipe}, which cannot be changed; "
            f"to use another {_deletion(resource)}"
        )
    if wish.parameters is not None and wish.parameters != resource.spec.parameters:
        raise CommandError(
            f"ProjectSetup {_place(resource)} has other parameters, which cannot be changed; "
            f"to use these {_deletion(resource)}"
        )


def _place(resource: ProjectSetupResource) -> str:
    return f"{resource.namespace}/{resource.name}"


def _deletion(resource: ProjectSetupResource) -> str:
    return f"delete it first: kubectl delete projectsetup {resource.name} -n {resource.namespace}"
