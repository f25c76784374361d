"""The table `setup_requests`: what applications have requested, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.types.json import Jsonb

from projectsetup.projects.database import connect
from projectsetup.projects.model import Backlog, PendingPage, PendingRequest, ProjectStatus, RequestKind
from projectsetup.projects.statements import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from uuid import UUID

    from projectsetup.projects.address import DatabaseAddress
    from projectsetup.projects.database import Database

PAGE: Final = 100
LONGEST_PARAMETERS: Final = 262_144
"""Characters of parameters as JSON that are read: a page must stay small, and the API server accepts fewer."""
CHANNEL: Final = "setup_requests"
LOOK_AFTER: Final = 30.0
"""Seconds after which requests are looked for even if no notification came, as behind a pooler."""
CHECK_AFTER: Final = 10.0
CHECK_LIMIT: Final = 3.0
"""Seconds between two checks that the connection still leads to the server, and that the answer may take."""
MAX_RETRY_DELAY: Final = 5.0

_URGENCY = "CASE r.kind WHEN 'cancel' THEN -1 ELSE coalesce(r.priority, 1) END"

_OLDEST = """
SELECT * FROM setup_requests AS r
WHERE handled_at IS NULL AND NOT EXISTS (
    SELECT FROM setup_requests AS e
    WHERE e.project_id = r.project_id AND e.handled_at IS NULL AND e.number < r.number
)
"""

_REQUESTS = f"""
SELECT r.id, r.number, r.project_id, r.kind, r.recipe, r.priority, r.max_attempts, r.backoff, r.credentials_secret,
    CASE WHEN length(r.parameters::text) <= {LONGEST_PARAMETERS} THEN r.parameters END AS parameters,
    coalesce(length(r.parameters::text) > {LONGEST_PARAMETERS}, false) AS is_too_large,
    {_URGENCY} AS urgency, p.status AS project_status, p.namespace AS project_namespace,
    p.owner_uid IS NOT NULL AS project_is_owned,
    (SELECT c.id FROM (SELECT * FROM setup_requests WHERE project_id = r.project_id OFFSET 0) AS c
     WHERE c.handled_at IS NULL AND c.kind = 'cancel' AND c.number > r.number
     ORDER BY c.number LIMIT 1) AS cancelled_by,
    backlog.pending AS backlog_pending, backlog.oldest AS backlog_oldest
FROM oldest AS r JOIN projects AS p ON p.id = r.project_id CROSS JOIN (
    SELECT count(*) AS pending, min(requested_at) AS oldest FROM setup_requests WHERE handled_at IS NULL
) AS backlog
ORDER BY urgency, r.number
"""  # noqa: S608  # no input in it
# OFFSET 0 has it look up the requests of one project: without statistics of a table that has just grown by thousands,
# PostgreSQL would search all pending requests for each row.

PENDING: Final = Statement(
    f"""
WITH oldest AS MATERIALIZED (
    {_OLDEST} AND ({_URGENCY}, r.number) > (%(after_urgency)s, %(after_number)s)
    ORDER BY {_URGENCY}, r.number LIMIT {PAGE}
) {_REQUESTS}""",
    {},
    reads=True,
)

CURRENT: Final = Statement(
    f"WITH oldest AS MATERIALIZED ({_OLDEST} AND r.id = %(at_id)s) {_REQUESTS}",
    {},
    reads=True,
)

CLOSE: Final = Statement(
    """
WITH closed AS (
    UPDATE setup_requests SET handled_at = clock_timestamp(),
        error = CASE WHEN id = %(at_id)s THEN %(to_error)s END
    WHERE id IN (%(at_id)s, %(with_id)s) AND handled_at IS NULL
    RETURNING id, project_id
), failed AS (
    UPDATE projects AS p SET status = 'failed', setup_error = %(to_setup_error)s, fence = p.fence + 1
    FROM closed WHERE closed.id = %(at_id)s AND p.id = closed.project_id AND %(to_setup_error)s::jsonb IS NOT NULL
        AND p.status = 'setup_queued' AND p.owner_uid IS NULL
    RETURNING p.id
)
SELECT id FROM closed WHERE id = %(at_id)s
""",
    {},
    reads=False,
)


ASSIGN: Final = Statement(
    "UPDATE projects SET namespace = %(to_namespace)s WHERE id = %(at_id)s AND namespace IS NULL RETURNING id",
    {},
    reads=False,
)


class SetupRequests:
    """The requests of applications; every method may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, after: PendingRequest | None = None) -> PendingPage:
        """Return the oldest pending request of each project, cancels first, then by priority and age; at most PAGE.

        `after` is the last one of the page before. The backlog of a page without requests is empty.
        """
        urgency, number = (-2, 0) if after is None else (after.urgency, after.number)
        rows = await self._database.rows(PENDING, after_urgency=urgency, after_number=number)
        backlog = Backlog(rows[0].backlog_pending, rows[0].backlog_oldest) if rows else Backlog()
        return PendingPage(tuple(_pending(row) for row in rows), backlog)

    async def current(self, request_id: UUID) -> PendingRequest | None:
        """Return a pending request as it is now; None if it was handled."""
        rows = await self._database.rows(CURRENT, at_id=request_id)
        return _pending(rows[0]) if rows else None

    async def assign(self, project_id: UUID, namespace: str) -> None:
        """Let the project belong to this namespace, if it belongs to none yet."""
        await self._database.rows(ASSIGN, at_id=project_id, to_namespace=namespace)

    async def close(
        self,
        request_id: UUID,
        *,
        error: str | None = None,
        reason: str | None = None,
        together_with: UUID | None = None,
    ) -> None:
        """Mark the request as handled, with the error for which it was refused; a handled one stays as it is.

        With a `reason`, the project fails with it and the error, if it is queued and nobody owns its setup.
        `together_with` is another request that is accepted in the same moment.
        """
        setup_error = None if reason is None else Jsonb({"reason": reason, "step": None, "message": error})
        await self._database.rows(
            CLOSE, at_id=request_id, with_id=together_with, to_error=error, to_setup_error=setup_error
        )


async def listen(address: DatabaseAddress) -> AsyncGenerator[None]:
    """Yield whenever there may be new requests: at once, after each notification and lost connection, and every 30 s.

    A connection that a firewall cuts silently counts as lost after at most CHECK_AFTER + CHECK_LIMIT seconds.
    """
    delay = 0.0
    while True:
        with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
            async with await asyncio.wait_for(connect(address), CHECK_AFTER) as connection:
                await asyncio.wait_for(connection.execute(f"LISTEN {CHANNEL}".encode()), CHECK_LIMIT)
                delay = 0.0
                yield
                async for _ in _notifications(connection):
                    yield
        yield
        await asyncio.sleep(delay)
        delay = min(2 * delay + 0.5, MAX_RETRY_DELAY)


async def _notifications(connection: psycopg.AsyncConnection[Any]) -> AsyncGenerator[None]:
    loop = asyncio.get_running_loop()
    looked = loop.time()
    while True:
        notified = False
        rest = max(looked + LOOK_AFTER - loop.time(), 0.0)
        async for _ in connection.notifies(timeout=min(CHECK_AFTER, rest), stop_after=1):
            notified = True
        if not notified:
            await asyncio.wait_for(connection.execute(b"SELECT 1"), CHECK_LIMIT)
        if notified or loop.time() - looked >= LOOK_AFTER:
            yield
            looked = loop.time()


def _pending(row: Any) -> PendingRequest:
    values = {field.name: getattr(row, field.name) for field in fields(PendingRequest)}
    return PendingRequest(
        **{
            **values,
            "kind": RequestKind(values["kind"]),
            "project_status": ProjectStatus(values["project_status"]),
        }
    )
