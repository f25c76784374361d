"""One PostgreSQL database, asked one statement at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from projectsetup.projects.connection import connect, has_ended
from projectsetup.projects.database_errors import translated
from projectsetup.projects.errors import DatabaseUnavailable, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Executable, Row
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from projectsetup.projects.address import DatabaseAddress

CALL_LIMIT = 15.0
_POOL_SIZE = 8
_RECYCLE_AFTER = 300


class Database:
    """A small pool of connections. Connects when first asked; lost connections are replaced unseen."""

    def __init__(
        self,
        address: DatabaseAddress,
        *,
        call_limit: float = CALL_LIMIT,
        on_trouble: Callable[[Trouble], None] = lambda _: None,
    ) -> None:
        """`on_trouble` is told of each call that ends in DatabaseUnavailable."""
        self._address = address
        self._on_trouble = on_trouble
        self._call_limit = call_limit
        self._engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=lambda: connect(address),
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            max_overflow=0,
            pool_recycle=_RECYCLE_AFTER,
            pool_size=_POOL_SIZE,
            pool_timeout=call_limit,
            pool_use_lifo=True,
            use_native_hstore=False,
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """Carries out one statement, a transaction of its own, within `call_limit` seconds.

        Raises DatabaseUnavailable (whether a write took place is then unknown) and UniqueViolation.
        """
        try:
            async with asyncio.timeout(self._call_limit):
                return await self._answer(statement)
        except (SQLAlchemyError, psycopg.Error, OSError) as exc:
            error = translated(exc, self._address)
            if error is None:
                raise
            if isinstance(error, DatabaseUnavailable):
                self._on_trouble(error.trouble)
            raise error from exc

    async def _answer(self, statement: Executable) -> Sequence[Row[Any]]:
        """A read that finds its connection lost is asked again; of a write nobody knows whether it took place."""
        try:
            return await self._ask(statement)
        except DBAPIError as error:
            if not (error.connection_invalidated and statement.is_select):
                raise
        return await self._ask(statement)

    async def _ask(self, statement: Executable) -> Sequence[Row[Any]]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement)).all()

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()


def _refuse_closed(connection: DBAPIConnection, *_: object) -> None:
    """Let the pool replace a connection that the server has ended; unlike a ping it asks the server nothing."""
    if has_ended(connection.driver_connection):
        raise DisconnectionError
