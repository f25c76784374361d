"""The tables `setup_logs` and `setup_log_rows`: what the steps of the latest attempts have printed, without secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from projectsetup.projects.statements import Statement

if TYPE_CHECKING:
    from projectsetup.projects.database import Database

ATTEMPTS_KEPT: Final = 10
"""Attempts of a project whose logs are kept, the latest."""
PAGE: Final = 200
"""Rows that are read at once."""
EXPIRED_AT_ONCE: Final = 20
"""Logs that one statement deletes."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """Complete lines of one step that were printed within one second; rows of a log are numbered."""

    number: int
    step: str
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class LogHead:
    """A log but for its rows.

    `lines_left_out` are missing before the first row that is not before `tail_from`. `position`: where the engine
    continues to read. `steps` are those that began, each `{name, startedAt, finishedAt}`.
    """

    run_name: str
    attempt: int
    started_at: datetime
    steps: Sequence[Mapping[str, Any]]
    position: Mapping[str, Any] | None
    tail_from: int | None
    lines_left_out: int


@dataclass(frozen=True, slots=True)
class RowSize:
    """Bytes and lines of a stored row."""

    number: int
    size: int
    lines: int


_HEAD = "run_name, attempt, started_at, steps, position, tail_from, lines_left_out"

APPEND: Final = Statement(
    f"""
WITH log AS (
    INSERT INTO setup_logs AS l
        (run_name, project_id, attempt, started_at, fence, steps, position, tail_from, lines_left_out)
    SELECT %(run_name)s, id, %(attempt)s, %(started_at)s, %(fence)s, %(steps)s, %(position)s, %(tail_from)s,
        %(lines_left_out)s
    FROM projects WHERE id = %(project_id)s FOR KEY SHARE
    ON CONFLICT (run_name) DO UPDATE SET updated_at = clock_timestamp(), fence = excluded.fence,
        steps = excluded.steps, position = excluded.position, tail_from = excluded.tail_from,
        lines_left_out = excluded.lines_left_out
    WHERE l.fence <= excluded.fence
    RETURNING l.run_name
), left_out AS (
    DELETE FROM setup_log_rows AS r USING log
    WHERE r.run_name = log.run_name AND r.number >= %(tail_from)s AND r.number < %(keep_from)s
), forgotten AS (
    DELETE FROM setup_logs WHERE run_name IN (
        SELECT run_name FROM setup_logs
        WHERE %(forget_older)s AND project_id = %(project_id)s AND run_name <> %(run_name)s
        ORDER BY started_at DESC OFFSET {ATTEMPTS_KEPT - 1}
    )
), added AS (
    INSERT INTO setup_log_rows (run_name, number, step, at, text)
    SELECT log.run_name, row.number, row.step, row.at, row.text
    FROM log, jsonb_to_recordset(%(rows)s) AS row(number integer, step text, at timestamptz, text text)
    ON CONFLICT (run_name, number) DO NOTHING
)
SELECT run_name FROM log
""",  # noqa: S608  # no input in it
    {},
    reads=False,
)

CONTINUE: Final = Statement(
    f"UPDATE setup_logs SET fence = %(fence)s WHERE run_name = %(run_name)s AND fence <= %(fence)s RETURNING {_HEAD}",  # noqa: S608  # no input in it
    {},
    reads=False,
)

SIZES: Final = Statement(
    """
SELECT number, octet_length(text) AS size, length(text) - length(replace(text, E'\\n', '')) AS lines
FROM setup_log_rows WHERE run_name = %(run_name)s ORDER BY number
""",
    {},
    reads=True,
)

LOGS_OF: Final = Statement(
    f"SELECT {_HEAD} FROM setup_logs WHERE project_id = %(project_id)s ORDER BY started_at DESC",  # noqa: S608  # no input in it
    {},
    reads=True,
)

HEAD_OF: Final = Statement(
    f"SELECT {_HEAD} FROM setup_logs WHERE run_name = %(run_name)s",  # noqa: S608  # no input in it
    {},
    reads=True,
)

HAS_ENDED: Final = Statement(
    """
SELECT EXISTS (SELECT FROM setup_attempts WHERE project_id = %(project_id)s AND run_name = %(run_name)s) AS has_ended
""",
    {},
    reads=True,
)

ROWS: Final = Statement(
    f"""
SELECT number, step, at, text FROM setup_log_rows WHERE run_name = %(run_name)s AND number > %(after)s
ORDER BY number LIMIT {PAGE}
""",  # noqa: S608  # no input in it
    {},
    reads=True,
)

EXPIRE: Final = Statement(
    f"""
DELETE FROM setup_logs WHERE run_name IN (
    SELECT run_name FROM setup_logs WHERE updated_at < %(before)s
    ORDER BY updated_at LIMIT {EXPIRED_AT_ONCE} FOR UPDATE SKIP LOCKED
) RETURNING run_name
""",  # noqa: S608  # no input in it
    {},
    reads=False,
)


class SetupLogs:
    """The logs of attempts; every method may raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(
        self,
        *,
        run_name: str,
        project_id: UUID,
        attempt: int,
        started_at: datetime,
        fence: int,
        rows: Sequence[LogRow],
        steps: Sequence[Mapping[str, Any]],
        position: Mapping[str, Any] | None,
        tail_from: int | None,
        keep_from: int,
        lines_left_out: int,
        forget_older: bool,
    ) -> bool:
        """Add rows to the log of a run, which begins with the first, and delete those from `tail_from` to `keep_from`.

        `forget_older` also deletes the logs of attempts before the latest ATTEMPTS_KEPT. May be repeated with the same
        rows. False: nothing changed, as a later claim continues the log or the project was deleted.
        """
        values = [{"number": r.number, "step": r.step, "at": r.at.isoformat(), "text": r.text} for r in rows]
        appended = await self._database.rows(
            APPEND,
            run_name=run_name,
            project_id=project_id,
            attempt=attempt,
            started_at=started_at,
            fence=fence,
            rows=Jsonb(values),
            steps=Jsonb(list(steps)),
            position=None if position is None else Jsonb(position),
            tail_from=tail_from,
            keep_from=keep_from,
            lines_left_out=lines_left_out,
            forget_older=forget_older,
        )
        return bool(appended)

    async def resume(self, run_name: str, fence: int) -> tuple[LogHead, tuple[RowSize, ...]] | None:
        """Continue the log of a run under a later claim; returns what is stored. None: nothing is."""
        heads = await self._database.rows(CONTINUE, run_name=run_name, fence=fence)
        if not heads:
            return None
        sizes = await self._database.rows(SIZES, run_name=run_name)
        return _head(heads[0]), tuple(RowSize(row.number, row.size, row.lines) for row in sizes)

    async def of(self, project_id: UUID) -> tuple[LogHead, ...]:
        """The logs of this project, latest first."""
        return tuple(_head(row) for row in await self._database.rows(LOGS_OF, project_id=project_id))

    async def head(self, run_name: str) -> LogHead | None:
        """One log; None if it is gone."""
        heads = await self._database.rows(HEAD_OF, run_name=run_name)
        return _head(heads[0]) if heads else None

    async def has_ended(self, project_id: UUID, run_name: str) -> bool:
        """Whether the end of this attempt is recorded, so that nothing more is added to its log."""
        return bool((await self._database.rows(HAS_ENDED, project_id=project_id, run_name=run_name))[0].has_ended)

    async def rows(self, run_name: str, *, after: int = -1) -> tuple[LogRow, ...]:
        """The rows of a log after this number; at most PAGE."""
        rows = await self._database.rows(ROWS, run_name=run_name, after=after)
        return tuple(LogRow(row.number, row.step, row.at.astimezone(UTC), row.text) for row in rows)

    async def expire(self, before: datetime) -> int:
        """Delete some logs that nothing was added to since; returns how many, 0 when there are none."""
        return len(await self._database.rows(EXPIRE, before=before))


def _head(row: Any) -> LogHead:
    return LogHead(
        run_name=row.run_name,
        attempt=row.attempt,
        started_at=row.started_at.astimezone(UTC),
        steps=row.steps,
        position=row.position,
        tail_from=row.tail_from,
        lines_left_out=row.lines_left_out,
    )
