"""Connections that let go at once."""

from __future__ import annotations

import asyncio
import select
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import set_json_dumps
from psycopg.waiting import wait_async

from projectsetup.projects.json_values import to_json

if TYPE_CHECKING:
    from collections.abc import Generator

    from projectsetup.projects.address import DatabaseAddress

T = TypeVar("T")

_INTERVAL = 0.1
_STATEMENT_TIMEOUT = "10s"
SERVES_FOR = 300.0
"""Seconds after which a connection is replaced, so that all follow where the name of the server leads."""


class PromptConnection(psycopg.AsyncConnection[Any]):
    """A connection that is dropped when a call on it is cancelled.

    psycopg would first ask the server to cancel, and wait for its answer: a frozen server would hold the caller.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._made_at = monotonic()

    @property
    def is_old(self) -> bool:
        """Whether it has served long enough."""
        return monotonic() - self._made_at > SERVES_FOR

    async def wait(
        self,
        gen: Generator[Any, Any, T],
        interval: float = _INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of psycopg
    ) -> T:
        """Runs one exchange with the server."""
        try:
            return await wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


async def connect(address: DatabaseAddress) -> PromptConnection:
    """A new connection, whose rows have named columns.

    Each statement is a transaction of its own and is ended by the server after 10 s.

    No server-side prepared statements: they would break when a migration changes the table under a running operator.
    """
    connection = await PromptConnection.connect(
        address.conninfo, autocommit=True, prepare_threshold=None, row_factory=namedtuple_row
    )
    set_json_dumps(to_json, connection)
    try:
        await connection.execute(f"SET statement_timeout = '{_STATEMENT_TIMEOUT}'")
    except BaseException:
        await connection.close()
        raise
    return connection


def has_ended(connection: PromptConnection) -> bool:
    """Whether the server has ended this idle connection: it then has said something that nobody asked for."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
