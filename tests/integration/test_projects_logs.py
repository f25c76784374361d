"""How long the logs of attempts are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg

from projectsetup.projects.logs import EXPIRED_AT_ONCE

if TYPE_CHECKING:
    from projectsetup.projects import ProjectRecord

NOW = datetime.now(UTC)
MONTH = NOW - timedelta(days=30)


def make_logs(connection: psycopg.Connection[tuple[object, ...]], number: int, age: timedelta) -> list[str]:
    """Logs of one row each, to which something was added so long ago; returns the names of their runs."""
    project = uuid4()
    connection.execute(
        "INSERT INTO projects (id, name, description, code_repo) VALUES (%s, %s, '', %s)",
        (project, str(project), f"/nowhere/{project}.git"),
    )
    runs = [f"run-{uuid4()}" for _ in range(number)]
    for run in runs:
        connection.execute(
            "INSERT INTO setup_logs (run_name, project_id, attempt, started_at, fence, steps, lines_left_out,"
            " updated_at) VALUES (%s, %s, 1, %s, 1, '[]', 0, %s)",
            (run, project, NOW - age, NOW - age),
        )
        connection.execute(
            "INSERT INTO setup_log_rows (run_name, number, step, at, text) VALUES (%s, 0, 'test', %s, 'line')",
            (run, NOW - age),
        )
    return runs


def stored(connection: psycopg.Connection[tuple[object, ...]], table: str) -> set[object]:
    return {row[0] for row in connection.execute(f"SELECT run_name FROM {table}".encode()).fetchall()}  # noqa: S608  # ours


async def test_expired_logs_go_a_few_at_a_time_and_others_stay(record: ProjectRecord, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        make_logs(connection, 2 * EXPIRED_AT_ONCE + 1, timedelta(days=31))
        kept = make_logs(connection, 3, timedelta(days=29))
        deleted = []
        while number := await record.logs().expire(MONTH):
            deleted.append(number)
        assert deleted == [EXPIRED_AT_ONCE, EXPIRED_AT_ONCE, 1]
        assert stored(connection, "setup_logs") == stored(connection, "setup_log_rows") == set(kept)


async def test_a_log_that_somebody_writes_is_not_waited_for(record: ProjectRecord, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection, psycopg.connect(database_url) as writer:
        locked, _ = make_logs(connection, 2, timedelta(days=31))
        writer.execute("SELECT FROM setup_logs WHERE run_name = %s FOR UPDATE", (locked,))
        assert await record.logs().expire(MONTH) == 1
        assert stored(connection, "setup_logs") == {locked}
        writer.rollback()
        assert await record.logs().expire(MONTH) == 1
