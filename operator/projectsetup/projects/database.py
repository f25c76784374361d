"""One PostgreSQL database, asked one statement at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from projectsetup.projects.connection import connect
from projectsetup.projects.database_errors import translated
from projectsetup.projects.errors import DatabaseUnavailable, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Executable, Row

    from projectsetup.projects.address import DatabaseAddress

CALL_LIMIT = 15.0
_POOL_SIZE = 4
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
            max_overflow=_POOL_SIZE,
            pool_pre_ping=True,
            pool_recycle=_RECYCLE_AFTER,
            pool_size=_POOL_SIZE,
            pool_timeout=call_limit,
            use_native_hstore=False,
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
            if isinstance(error, DatabaseUnavailable):
                self._on_trouble(error.trouble)
            raise error from exc

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()
