"""One PostgreSQL database, asked one statement at a time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg

from projectsetup.projects.connection import connect, has_ended
from projectsetup.projects.database_errors import translated
from projectsetup.projects.errors import DatabaseUnavailable, Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from projectsetup.projects.address import DatabaseAddress
    from projectsetup.projects.connection import PromptConnection
    from projectsetup.projects.statements import Statement

CALL_LIMIT = 15.0
_CONNECTIONS = 8


class Database:
    """A few connections. Connects when first asked; lost connections are replaced unseen."""

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
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._idle: list[PromptConnection] = []
        self._trusted_since = float("-inf")

    async def rows(self, statement: Statement, **values: object) -> Sequence[Any]:
        """Carries out one statement, a transaction of its own, within `call_limit` seconds; rows have named columns.

        Raises DatabaseUnavailable (whether a write took place is then unknown) and UniqueViolation.
        """
        try:
            async with asyncio.timeout(self._call_limit), self._turns:
                return await self._answer(statement, {**statement.constants, **values})
        except (psycopg.Error, OSError) as exc:
            error = translated(exc, self._address)
            if error is None:
                raise
            if isinstance(error, DatabaseUnavailable):
                self._on_trouble(error.trouble)
            raise error from exc

    async def _answer(self, statement: Statement, values: dict[str, object]) -> Sequence[Any]:
        """A read that finds its connection lost is asked again; of a write nobody knows whether it took place."""
        async with self._connection() as connection:
            try:
                return await connection.ask(statement.sql, values)
            except psycopg.OperationalError:
                if not (statement.reads and has_ended(connection)):
                    raise
        async with self._connection() as connection:
            return await connection.ask(statement.sql, values)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PromptConnection]:
        """The one that was used last, if it is still good, else a new one.

        Where a statement fails for another reason than its values, no connection is used again that is as old as that
        one: they may all lead to a server that has become a standby.
        """
        while self._idle:
            connection = self._idle.pop()
            if self._is_trusted(connection) and not (has_ended(connection) or connection.is_old):
                break
            await connection.close()
        else:
            connection = await connect(self._address)
        try:
            yield connection
        except psycopg.Error as exc:
            if not isinstance(exc, psycopg.IntegrityError):
                self._trusted_since = monotonic()
            raise
        finally:
            if self._is_trusted(connection) and not (connection.closed or connection.only_reads):
                self._idle.append(connection)
            else:
                await connection.close()

    def _is_trusted(self, connection: PromptConnection) -> bool:
        return connection.made_at > self._trusted_since

    async def close(self) -> None:
        """Closes all connections."""
        while self._idle:
            await self._idle.pop().close()
