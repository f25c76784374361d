"""One PostgreSQL database, asked one statement at a time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from projectsetup.projects.connection import connect
from projectsetup.projects.database_errors import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Executable, Row

    from projectsetup.projects.address import DatabaseAddress

CALL_LIMIT = 15.0
_POOL_SIZE = 4
_RECYCLE_AFTER = 300


class Database:
    """A small pool of connections. Connects when first asked; lost connections are replaced unseen."""

    def __init__(self, address: DatabaseAddress, *, call_limit: float = CALL_LIMIT) -> None:
        self._address = address
        self._call_limit = call_limit
        self._engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=lambda: connect(address),
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            json_serializer=_to_json,
            max_overflow=_POOL_SIZE,
            pool_pre_ping=True,
            pool_recycle=_RECYCLE_AFTER,
            pool_size=_POOL_SIZE,
            pool_timeout=call_limit,
        )

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """Carries out one statement, a transaction of its own, within `call_limit` seconds.

        Raises DatabaseUnavailable (whether a write took place is then unknown) and UniqueViolation.
        """
        try:
            async with asyncio.timeout(self._call_limit), self._engine.connect() as connection:
                return (await connection.execute(statement)).all()
        except (SQLAlchemyError, psycopg.Error, OSError) as exc:
            error = translated(exc, self._address)
            if error is None:
                raise
            raise error from exc

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()


def _to_json(value: object) -> str:
    return json.dumps(_storable(value), ensure_ascii=False, allow_nan=False)


def _storable(value: object) -> object:
    """The value with the two things jsonb refuses in text, NUL and lone surrogates, replaced."""
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
        case _:
            return value
