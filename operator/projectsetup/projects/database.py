"""One PostgreSQL database: connections, one statement at a time, and errors in the terms of the record."""

from __future__ import annotations

import asyncio
import json
import re
import select
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import AsyncClientCursor
from psycopg.errors import UniqueViolation as DriverUniqueViolation
from psycopg.rows import namedtuple_row
from psycopg.types.json import set_json_dumps
from psycopg.waiting import wait_async
from sqlalchemy.exc import DBAPIError

from projectsetup.projects.errors import DatabaseErrorKind, DatabaseUnavailable, RecordError, UniqueViolation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence

    from projectsetup.projects.address import DatabaseAddress
    from projectsetup.projects.statements import Statement

T = TypeVar("T")

_INTERVAL = 0.1
_LIMITED = "SET LOCAL statement_timeout = '10s'; "
_ON = b"on"
SERVES_FOR = 300.0
"""Seconds after which a connection is replaced, so that all follow a change of the server's DNS name."""


class PromptConnection(psycopg.AsyncConnection[Any]):
    """A connection that is dropped as soon as a call on it is cancelled.

    psycopg would ask the server to cancel and wait for the answer, so a frozen server would block the caller.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.made_at = monotonic()

    @property
    def is_old(self) -> bool:
        """Whether it is due for replacement."""
        return monotonic() - self.made_at > SERVES_FOR

    @property
    def only_reads(self) -> bool:
        """Whether the server has reported that it is read-only. Behind a pooler there may be no such report."""
        reported = self.pgconn.parameter_status
        return _ON in {reported(b"in_hot_standby"), reported(b"default_transaction_read_only")}

    async def ask(self, sql: str, values: Mapping[str, object]) -> Sequence[Any]:
        """Run one statement in its own transaction, with a server-side limit of 10 s; returns its rows.

        The limit and the statement, with its values, are one message: this saves a round trip and leaves nothing in the
        session, which a pooler may hand to another client next.
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
        """Run one exchange with the server."""
        try:
            return await wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


async def connect(address: DatabaseAddress) -> PromptConnection:
    """Open a connection whose rows have named columns.

    It leaves nothing in the session and prepares no statements: those would break behind a pooler, and when a migration
    changes the table under a running operator.
    """
    connection = await PromptConnection.connect(
        address.conninfo, autocommit=True, cursor_factory=AsyncClientCursor, row_factory=namedtuple_row
    )
    set_json_dumps(to_json, connection)
    return connection


def has_ended(connection: PromptConnection) -> bool:
    """Whether the server has closed this idle connection: its socket is then readable."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


CALL_LIMIT = 15.0
_CONNECTIONS = 8


class Database:
    """A small connection pool. Connects on first use and replaces lost connections."""

    def __init__(
        self,
        address: DatabaseAddress,
        *,
        call_limit: float = CALL_LIMIT,
        on_error: Callable[[DatabaseErrorKind], None] = lambda _: None,
    ) -> None:
        """`on_error` is called for each call that ends in DatabaseUnavailable."""
        self._address = address
        self._on_error = on_error
        self._call_limit = call_limit
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._idle: list[PromptConnection] = []
        self._trusted_since = float("-inf")

    async def rows(self, statement: Statement, **values: object) -> Sequence[Any]:
        """Run one statement in its own transaction within `call_limit` seconds; rows have named columns.

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
                self._on_error(error.kind)
            raise error from exc

    async def _answer(self, statement: Statement, values: dict[str, object]) -> Sequence[Any]:
        """Repeat a read if its connection was lost. A write is not repeated: it may have taken place."""
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
        """The connection used last if it is still good, else a new one.

        If a statement fails for any reason but its values, or takes too long, no connection opened before is reused:
        they may all lead to a server that has become a standby, or through a firewall that has dropped them.
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
        except (psycopg.Error, asyncio.CancelledError) as exc:
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
        """Close all connections."""
        while self._idle:
            await self._idle.pop().close()


_BY_STATE = {
    "28": (DatabaseErrorKind.RIGHTS, "refused the login of user {user}"),
    "3D": (DatabaseErrorKind.SCHEMA, "has no database {database}"),
    "42P01": (DatabaseErrorKind.SCHEMA, "lacks the tables this version needs: run projectsetup migrate"),
    "42703": (
        DatabaseErrorKind.SCHEMA,
        "has tables that this version cannot use: run projectsetup migrate, which updates them or says what is wrong",
    ),
    "3F": (DatabaseErrorKind.SCHEMA, "lacks the tables this version needs: run projectsetup migrate"),
    "42501": (DatabaseErrorKind.RIGHTS, "does not give user {user} the rights it needs ({detail})"),
    "53300": (DatabaseErrorKind.BUSY, "has no free connection"),
    "53": (DatabaseErrorKind.BUSY, "is out of resources ({detail})"),
    "57P03": (DatabaseErrorKind.UNREACHABLE, "is starting up or shutting down"),
    "57014": (DatabaseErrorKind.TIMEOUT, "cancelled a statement that took too long"),
    "57": (DatabaseErrorKind.UNREACHABLE, "ended the connection ({detail})"),
    "55P03": (DatabaseErrorKind.BUSY, "could not take a lock in time"),
    "40": (DatabaseErrorKind.BUSY, "rolled back the transaction ({detail})"),
    "25006": (DatabaseErrorKind.SERVER, "is read-only now"),
    "25P": (DatabaseErrorKind.UNREACHABLE, "ended the connection ({detail})"),
    "58": (DatabaseErrorKind.SERVER, "has a system error ({detail})"),
    "08": (DatabaseErrorKind.UNREACHABLE, "lost the connection ({detail})"),
}
_BY_TEXT = {
    r"timeout expired": (DatabaseErrorKind.TIMEOUT, "does not answer"),
    r"Connection refused": (DatabaseErrorKind.UNREACHABLE, "refuses connections: is it running?"),
    r"session is read-only|server is in hot standby mode": (DatabaseErrorKind.SERVER, "is read-only now"),
    r"failed to resolve host": (DatabaseErrorKind.UNREACHABLE, "cannot be found: no such host name"),
    r"too many clients|too many connections|remaining connection slots": (
        DatabaseErrorKind.BUSY,
        "has no free connection",
    ),
    r"the database system is (starting up|in recovery|not yet accepting)": (
        DatabaseErrorKind.UNREACHABLE,
        "is starting up",
    ),
    r"the database system is shutting down": (DatabaseErrorKind.UNREACHABLE, "is shutting down"),
    r'database "[^"]*" does not exist': (DatabaseErrorKind.SCHEMA, "has no database {database}"),
    r"permission denied for database|is not currently accepting": (
        DatabaseErrorKind.RIGHTS,
        "refuses access to {database} ({detail})",
    ),
    r'role "[^"]*" does not exist|role "[^"]*" is not permitted': (
        DatabaseErrorKind.RIGHTS,
        "refused the login of user {user}",
    ),
    r"authentication failed|no password supplied|no pg_hba.conf entry": (
        DatabaseErrorKind.RIGHTS,
        "refused the login of user {user}",
    ),
}
_DETAIL_LENGTH = 200


def translated(exc: Exception, address: DatabaseAddress) -> RecordError | None:
    """The record's error for an error of the driver or SQLAlchemy; None for a bug, which must not be hidden."""
    if isinstance(exc, TimeoutError):
        return DatabaseUnavailable(f"{address} does not answer", DatabaseErrorKind.TIMEOUT)
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    if isinstance(cause, DriverUniqueViolation):
        return UniqueViolation(cause.diag.constraint_name or "")
    if isinstance(cause, (psycopg.Error, OSError)):
        known = _known(cause)
        if known is not None:
            kind, sentence = known
            words = {"user": address.user, "database": address.database, "detail": _detail(cause)}
            return DatabaseUnavailable(f"{address} {sentence.format(**words)}", kind)
    return None


def _known(cause: Exception) -> tuple[DatabaseErrorKind, str] | None:
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return _BY_STATE.get(state) or _BY_STATE.get(state[:3]) or _BY_STATE.get(state[:2])
    if not isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, OSError)):
        return None
    text = str(cause)
    known = (entry for pattern, entry in _BY_TEXT.items() if re.search(pattern, text))
    return next(known, (DatabaseErrorKind.UNREACHABLE, "cannot be reached ({detail})"))


def _detail(cause: Exception) -> str:
    if isinstance(cause, psycopg.Error) and cause.diag.message_primary:
        return cause.diag.message_primary[:_DETAIL_LENGTH]
    first = str(cause).partition("\n")[0]
    return first.rpartition("failed: ")[2].rpartition("FATAL:  ")[2].strip()[:_DETAIL_LENGTH] or type(cause).__name__


def to_json(value: object) -> str:
    """The JSON text of a value, as jsonb accepts it; the value may contain any program output."""
    return json.dumps(_storable(value), ensure_ascii=False, allow_nan=False)


def _storable(value: object) -> object:
    """The value without the characters that jsonb refuses: NUL and lone surrogates are replaced."""
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
        case _:
            return value
