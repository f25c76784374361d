"""Connections that let go at once."""

from __future__ import annotations

import asyncio
import select
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import AsyncClientCursor
from psycopg.rows import namedtuple_row
from psycopg.types.json import set_json_dumps
from psycopg.waiting import wait_async

from projectsetup.projects.json_values import to_json

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from projectsetup.projects.address import DatabaseAddress

T = TypeVar("T")

_INTERVAL = 0.1
_LIMITED = "SET LOCAL statement_timeout = '10s'; "
_ON = b"on"
SERVES_FOR = 300.0
"""Seconds after which a connection is replaced, so that all follow where the name of the server leads."""


class PromptConnection(psycopg.AsyncConnection[Any]):
    """A connection that is dropped when a call on it is cancelled.

    psycopg would first ask the server to cancel, and wait for its answer: a frozen server would hold the caller.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.made_at = monotonic()

    @property
    def is_old(self) -> bool:
        """Whether it has served long enough."""
        return monotonic() - self.made_at > SERVES_FOR

    @property
    def only_reads(self) -> bool:
        """Whether the server has said that it takes no writes; a pooler before it may say nothing."""
        told = self.pgconn.parameter_status
        return _ON in {told(b"in_hot_standby"), told(b"default_transaction_read_only")}

    async def ask(self, sql: str, values: Mapping[str, object]) -> Sequence[Any]:
        """Carries out one statement, a transaction of its own, that the server ends after 10 s; gives its rows.

        Both the limit and the statement are one message, with the values in it: nothing stays in the session, which may
        be a pooler's and somebody else's next, and no answer is awaited in between.
        """
        cursor = await self.execute(_LIMITED + sql, values)
        cursor.nextset()
        return await cursor.fetchall() if cursor.description else ()

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

    It leaves nothing in the session, and prepares no statements there: they would break behind a pooler, and when a
    migration changes the table under a running operator.
    """
    connection = await PromptConnection.connect(
        address.conninfo, autocommit=True, cursor_factory=AsyncClientCursor, row_factory=namedtuple_row
    )
    set_json_dumps(to_json, connection)
    return connection


def has_ended(connection: PromptConnection) -> bool:
    """Whether the server has ended this idle connection: it then has said something that nobody asked for."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
