"""For applications in Python: request or cancel the setup of a project inside their own transaction.

Pass the connection or session that the application uses, of psycopg or SQLAlchemy, sync or async. The request takes
effect when the application commits and leaves nothing when it rolls back. With an async connection or session, await
the result. The functions call `setup_project` and `cancel_setup` in the database, so the role of the application needs
no right but membership in `projectsetup_client`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, overload

import psycopg
from psycopg.rows import scalar_row
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping
    from uuid import UUID

    from sqlalchemy import TextClause

__all__ = ["CancelAnswer", "SetupRefused", "cancel_setup", "setup_project"]

SyncTransaction: TypeAlias = "psycopg.Connection[Any] | Connection | Session"
AsyncTransaction: TypeAlias = "psycopg.AsyncConnection[Any] | AsyncConnection | AsyncSession"

CancelAnswer = Literal["ok", "not_found", "already_completed"]
"""`ok`: the setup will be cancelled; `not_found`: no such project, or no setup was requested; `already_completed`."""

_SETUP: Final = (
    "SELECT setup_project({project_id}, {recipe}, CAST({parameters} AS jsonb), {priority}, {max_attempts}, {backoff},"
    " {credentials_secret})"
)
_CANCEL: Final = "SELECT cancel_setup({project_id})"


class SetupRefused(Exception):
    """The database refused the request; the text says why, in one line. The transaction must be rolled back."""


@overload
def setup_project(
    transaction: SyncTransaction,
    project_id: UUID,
    *,
    recipe: str | None = ...,
    parameters: Mapping[str, str] | None = ...,
    priority: int | None = ...,
    max_attempts: int | None = ...,
    backoff: str | None = ...,
    credentials_secret: str | None = ...,
) -> UUID: ...
@overload
def setup_project(
    transaction: AsyncTransaction,
    project_id: UUID,
    *,
    recipe: str | None = ...,
    parameters: Mapping[str, str] | None = ...,
    priority: int | None = ...,
    max_attempts: int | None = ...,
    backoff: str | None = ...,
    credentials_secret: str | None = ...,
) -> Awaitable[UUID]: ...
def setup_project(
    transaction: SyncTransaction | AsyncTransaction,
    project_id: UUID,
    *,
    recipe: str | None = None,
    parameters: Mapping[str, str] | None = None,
    priority: int | None = None,
    max_attempts: int | None = None,
    backoff: str | None = None,
    credentials_secret: str | None = None,
) -> UUID | Awaitable[UUID]:
    """Request the setup of a project; return the id of the request.

    The project is marked `setup_queued`. `None` means the operator's default. `priority` is 0 to 9 (0 first),
    `max_attempts` 1 to 20, `backoff` a duration such as `30s`. Raises SetupRefused if the project is missing or ready
    or a value is out of range.
    """
    values = {
        "project_id": project_id,
        "recipe": recipe,
        "parameters": None if parameters is None else json.dumps(dict(parameters)),
        "priority": priority,
        "max_attempts": max_attempts,
        "backoff": backoff,
        "credentials_secret": credentials_secret,
    }
    return cast("UUID | Awaitable[UUID]", _call(transaction, _SETUP, values))


@overload
def cancel_setup(transaction: SyncTransaction, project_id: UUID) -> CancelAnswer: ...
@overload
def cancel_setup(transaction: AsyncTransaction, project_id: UUID) -> Awaitable[CancelAnswer]: ...
def cancel_setup(
    transaction: SyncTransaction | AsyncTransaction, project_id: UUID
) -> CancelAnswer | Awaitable[CancelAnswer]:
    """Request to cancel the setup of a project, and say whether there is one to cancel."""
    return cast("CancelAnswer | Awaitable[CancelAnswer]", _call(transaction, _CANCEL, {"project_id": project_id}))


def _call(transaction: object, statement: str, values: Mapping[str, object]) -> object:
    match transaction:
        case psycopg.AsyncConnection():
            return _await_psycopg(transaction, statement, values)
        case AsyncConnection() | AsyncSession():
            return _await_sqlalchemy(transaction, statement, values)
        case psycopg.Connection():
            with _refusals():
                cursor = transaction.cursor(row_factory=scalar_row)
                return cursor.execute(_for_psycopg(statement, values), values).fetchone()
        case Connection() | Session():
            with _refusals():
                return transaction.execute(_for_sqlalchemy(statement, values), values).scalar_one()
    raise TypeError(f"{type(transaction).__name__} is not a connection or session of psycopg or SQLAlchemy")


async def _await_psycopg(
    transaction: psycopg.AsyncConnection[Any], statement: str, values: Mapping[str, object]
) -> object:
    with _refusals():
        cursor = await transaction.cursor(row_factory=scalar_row).execute(_for_psycopg(statement, values), values)
        return await cursor.fetchone()


async def _await_sqlalchemy(
    transaction: AsyncConnection | AsyncSession, statement: str, values: Mapping[str, object]
) -> object:
    with _refusals():
        return (await transaction.execute(_for_sqlalchemy(statement, values), values)).scalar_one()


def _for_psycopg(statement: str, values: Mapping[str, object]) -> bytes:
    return statement.format(**{name: f"%({name})s" for name in values}).encode()


def _for_sqlalchemy(statement: str, values: Mapping[str, object]) -> TextClause:
    return text(statement.format(**{name: f":{name}" for name in values}))


_REFUSED: Final = frozenset({"22023", "P0002", "55000"})
"""invalid_parameter_value, no_data_found, object_not_in_prerequisite_state: what the functions raise."""


@contextmanager
def _refusals() -> Iterator[None]:
    """Raises SetupRefused for what `setup_project` refuses; other errors of the driver pass."""
    try:
        yield
    except (psycopg.Error, DBAPIError) as exc:
        error = exc.orig if isinstance(exc, DBAPIError) else exc
        message = str(error).partition("\n")[0]
        if getattr(error, "sqlstate", None) in _REFUSED and message.startswith("setup_project: "):
            raise SetupRefused(message.removeprefix("setup_project: ")) from exc
        raise
