"""What to do about one request: a pure function from the request and what exists to a frozen decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from projectsetup.api.constants import (
    BACKOFF,
    CANCEL_REQUESTED_AT,
    MAX_ATTEMPTS,
    PRIORITY,
    REQUEST_ID,
    RETRY_REQUESTED_AT,
)
from projectsetup.api.reasons import Reason
from projectsetup.api.spec import PARAMETERS_MAX_BYTES
from projectsetup.projects.model import ProjectStatus, RequestKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projectsetup.api.resource import ProjectSetupResource
    from projectsetup.projects.model import PendingRequest


@dataclass(frozen=True, slots=True)
class Create:
    """Create the ProjectSetup with these annotations and this spec."""

    annotations: Mapping[str, str]
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """Set these annotations, and these fields of the spec, on the ProjectSetup that exists."""

    annotations: Mapping[str, str]
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wait:
    """Leave the request pending for now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Accept:
    """The request has taken effect."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A cancel came before the setup started: close both; the project fails as cancelled."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Close the request with this error; a project that waits for it fails with the reason, if there is one."""

    error: str
    reason: Reason | None = None


Decision: TypeAlias = Create | Change | Wait | Accept | Withdraw | Refuse


def decide(request: PendingRequest, existing: ProjectSetupResource | None, *, namespace: str) -> Decision:
    """Decide on a request whose predecessors for the same project were handled; `existing` is its ProjectSetup.

    `existing` may be None for a setup that nobody has cancelled: if there is one after all, the API server refuses to
    create another. Repeating a decision after a crash is safe: what was changed for the request carries its id.
    """
    if request.project_namespace not in {None, namespace}:
        return Refuse(
            f"project {request.project_id} belongs to another namespace than {namespace}, where requests are served",
            Reason.PROJECT_CLAIMED,
        )
    if existing is not None and _was_applied(request, existing):
        return Accept()
    if existing is not None and existing.deleting:
        return Wait("its ProjectSetup is being deleted")
    return _cancel(request, existing) if request.kind is RequestKind.CANCEL else _setup(request, existing)


def _was_applied(request: PendingRequest, existing: ProjectSetupResource) -> bool:
    return str(request.id) in {
        existing.annotations.get(name) for name in (REQUEST_ID, RETRY_REQUESTED_AT, CANCEL_REQUESTED_AT)
    }


def _setup(request: PendingRequest, existing: ProjectSetupResource | None) -> Decision:
    if request.project_status is ProjectStatus.READY:
        return Accept()
    if request.cancelled_by is not None and (existing is None or existing.is_over):
        return Withdraw()
    if request.is_too_large:
        return Refuse(
            f"parameters: at most {PARAMETERS_MAX_BYTES} bytes, names and values together", Reason.INVALID_SPEC
        )
    if existing is None:
        return Create(_annotations(request), _spec(request))
    return _retry(request, existing)


def _cancel(request: PendingRequest, existing: ProjectSetupResource | None) -> Decision:
    if existing is None:
        return Refuse("there is no setup to cancel")
    if existing.is_over and not existing.retry_is_new:
        return Refuse("the setup had already ended")
    return Change({CANCEL_REQUESTED_AT: str(request.id)}, {})


def _retry(request: PendingRequest, existing: ProjectSetupResource) -> Decision:
    if _has_unreported_end(request, existing):  # a retry would count for the attempt that has ended
        return Wait("the end of the last attempt is not reported yet")
    if existing.cancel_is_new:  # seen together, the cancel would win over the retry
        return Wait("an earlier cancel has not taken effect yet")
    if difference := _difference(request, existing):
        return Refuse(
            f"ProjectSetup {existing.namespace}/{existing.name} has {difference}, which is immutable: delete it first",
            Reason.INVALID_SPEC,
        )
    if existing.succeeded:
        return Refuse(
            f"ProjectSetup {existing.namespace}/{existing.name} has succeeded: delete it first",
            Reason.PROJECT_INVALID_STATE,
        )
    return Change({**_annotations(request), RETRY_REQUESTED_AT: str(request.id)}, _mutable(request))


def _has_unreported_end(request: PendingRequest, existing: ProjectSetupResource) -> bool:
    """Whether the request was made between the end of an attempt in the record and in `.status`: nobody owns it now."""
    queued = request.project_status is ProjectStatus.SETUP_QUEUED and not request.project_is_owned
    return queued and existing.status.run_ref is not None


def _difference(request: PendingRequest, existing: ProjectSetupResource) -> str | None:
    spec = existing.spec
    if spec is None:
        return None
    if request.recipe not in {None, spec.recipe}:
        return f"recipe {spec.recipe}"
    if request.parameters is not None and dict(request.parameters) != dict(spec.parameters):
        return "other parameters"
    return None


def _annotations(request: PendingRequest) -> dict[str, str]:
    given = {
        REQUEST_ID: request.id,
        PRIORITY: request.priority,
        MAX_ATTEMPTS: request.max_attempts,
        BACKOFF: request.backoff,
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _spec(request: PendingRequest) -> dict[str, Any]:
    immutable = {"recipe": request.recipe, "parameters": request.parameters and dict(request.parameters)}
    return {name: value for name, value in immutable.items() if value} | _mutable(request)


def _mutable(request: PendingRequest) -> dict[str, Any]:
    secret = request.credentials_secret
    return {} if secret is None else {"credentialsSecretRef": {"name": secret}}
