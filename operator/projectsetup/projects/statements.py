"""The statements of the record. Each is complete in itself: no call needs more than one to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, case, delete, insert, null, or_, select, true, update

from projectsetup.projects.model import ENDED, IN_PROGRESS, ProjectStatus
from projectsetup.projects.table import PROJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

    from sqlalchemy import ColumnElement, Select, Update
    from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate

    from projectsetup.projects.model import Owner

_C = PROJECTS.c
_UNOWNED = {"owner_uid": None, "owner_namespace": None, "owner_name": None}
_QUEUED_FOR_ANYBODY = and_(_C.status == ProjectStatus.SETUP_QUEUED, _C.owner_uid.is_(None))
_STARTABLE = or_(_C.status.in_((ProjectStatus.CREATED, ProjectStatus.FAILED)), _QUEUED_FOR_ANYBODY)
_BEING_SET_UP = or_(
    _C.status.in_(IN_PROGRESS), and_(_C.status == ProjectStatus.SETUP_QUEUED, _C.owner_uid.is_not(None))
)


def by_id(project_id: UUID) -> Select[Any]:
    """The one project."""
    return select(PROJECTS).where(_C.id == project_id)


def all_projects() -> Select[Any]:
    """Every project, oldest first."""
    return select(PROJECTS).order_by(_C.inserted_at, _C.id)


def owned() -> Select[Any]:
    """Every project whose setup somebody owns and that has not ended."""
    return all_projects().where(_C.owner_uid.is_not(None), _C.status.not_in(ENDED))


def probe() -> Select[Any]:
    """Reads every column of no row: fails where the schema is not what this version needs."""
    return select(PROJECTS).limit(0)


def create(values: Mapping[str, Any]) -> ReturningInsert[Any]:
    """A new project."""
    return insert(PROJECTS).values(**values).returning(PROJECTS)


def claim(
    project_id: UUID, owner: Owner, *, attempt: int, status: ProjectStatus, seen: int | None
) -> ReturningUpdate[Any]:
    """Takes the project where nobody else sets it up. `refusal` in claims.py says the same rule in words."""
    is_own = and_(_C.owner_uid == owner.uid, _C.status != ProjectStatus.READY)
    return (
        _moving_fence(project_id)
        .where(or_(_STARTABLE, is_own), _unmoved(seen))
        .values(
            owner_uid=owner.uid,
            owner_namespace=owner.namespace,
            owner_name=owner.name,
            attempt=attempt,
            status=status,
            setup_error=None,
            attempt_result=None,
        )
        .returning(PROJECTS)
    )


def mark(project_id: UUID, fence: int, status: ProjectStatus) -> ReturningUpdate[Any]:
    """Moves the status on, where the fence still stands."""
    held = (_C.id == project_id, _C.fence == fence)
    return update(PROJECTS).where(*held).values(status=status).returning(PROJECTS)


def finish(project_id: UUID, fence: int, values: Mapping[str, Any]) -> ReturningUpdate[Any]:
    """Ends the attempt, where the fence still stands, and moves the fence on."""
    return _moving_fence(project_id).where(_C.fence == fence).values(**values).returning(PROJECTS)


def release(project_id: UUID, owner_uid: str, *, seen: int | None) -> ReturningUpdate[Any]:
    """Takes the project from that owner; what has not ended starts afresh."""
    ended = _C.status.in_(ENDED)
    return (
        _moving_fence(project_id)
        .where(_C.owner_uid == owner_uid, _unmoved(seen))
        .values(
            **_UNOWNED,
            status=case((ended, _C.status), else_=ProjectStatus.CREATED),
            attempt=case((ended, _C.attempt), else_=0),
            setup_error=case((ended, _C.setup_error), else_=null()),
            attempt_result=case((ended, _C.attempt_result), else_=null()),
        )
        .returning(PROJECTS)
    )


def queue(project_id: UUID) -> ReturningUpdate[Any]:
    """Opens the project to the next claim, whoever owned its last setup."""
    return (
        _moving_fence(project_id)
        .where(_STARTABLE)
        .values(**_UNOWNED, status=ProjectStatus.SETUP_QUEUED, setup_error=None)
        .returning(PROJECTS)
    )


def remove(project_id: UUID) -> ReturningDelete[Any]:
    """Deletes the project, unless it is being set up."""
    return delete(PROJECTS).where(_C.id == project_id, ~_BEING_SET_UP).returning(PROJECTS)


def _unmoved(seen: int | None) -> ColumnElement[bool]:
    return true() if seen is None else _C.fence == seen


def _moving_fence(project_id: UUID) -> Update:
    return update(PROJECTS).where(_C.id == project_id).values(fence=_C.fence + 1)
