"""The schema that the migrations create."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier, Placeholder
from psycopg.types.json import Jsonb
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from projectsetup.projects import DatabaseUnavailable, InvalidDatabaseUrl, MigrationFailed, ProjectRecord
from projectsetup.projects.migrate import _LOCK, VERSION_TABLE, _upgrade, migrate
from projectsetup.projects.table import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

ALL = ["0001", "0002", "0003", "0004", "0005"]
_CONSTRAINTS = text(
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass('projects') ORDER BY 1"
)


@pytest.fixture
def empty_url(database_url: str) -> str:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return database_url


@pytest.fixture
def connection(empty_url: str) -> Iterator[Connection]:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(empty_url), poolclass=NullPool)
    with engine.begin() as opened:
        yield opened


async def test_an_empty_database_is_migrated_once(empty_url: str) -> None:
    async with ProjectRecord.connect(empty_url) as record:
        with pytest.raises(DatabaseUnavailable, match="lacks the tables this version needs: run projectsetup migrate"):
            await record.ping()
        assert migrate(empty_url) == ALL
        assert migrate(empty_url) == []
        await record.ping()
        made = await record.create(name="App", code_repo="https://git.example/a")
        assert migrate(empty_url) == []
        assert await record.get(made.id) == made


async def test_several_migrations_at_once_do_the_work_once(empty_url: str) -> None:
    applied = await asyncio.gather(*(asyncio.to_thread(migrate, empty_url) for _ in range(4)))
    assert sorted(applied) == [[], [], [], ALL]


def test_the_tables_in_code_and_in_the_database_are_the_same(empty_url: str, connection: Connection) -> None:
    migrate(empty_url)
    options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
    assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    migrated = connection.execute(_CONSTRAINTS).all()
    connection.execute(text("CREATE SCHEMA from_code"))
    connection.execute(text("SET LOCAL search_path = from_code"))
    METADATA.create_all(connection)
    assert connection.execute(_CONSTRAINTS).all() == migrated
    assert len(migrated) >= 10


def at_version(url: str, version: str, *projects: dict[str, Any]) -> list[dict[str, Any]]:
    """Migrate an empty database to an earlier version and insert projects; returns the rows."""
    with psycopg.connect(url) as connection:
        _upgrade(connection, version)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as sql:
        for project in projects:
            columns = SQL(", ").join(map(Identifier, project))
            values = SQL(", ").join(map(Placeholder, project))
            sql.execute(SQL("INSERT INTO projects ({}) VALUES ({})").format(columns, values), project)
        return sql.execute("SELECT * FROM projects ORDER BY name").fetchall()


def all_rows(url: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as sql:
        return sql.execute("SELECT * FROM projects ORDER BY name").fetchall()


def test_an_owned_project_gets_the_namespace_of_its_owner(empty_url: str) -> None:
    owner = {"owner_uid": "uid-1", "owner_namespace": "team-a", "owner_name": "p", "fence": 7}
    before = at_version(
        empty_url,
        "0001",
        {"name": "a running", "code_repo": "https://git.example/a", "status": "testing", **owner},
        {"name": "b ready", "code_repo": "https://git.example/b", "status": "ready", **owner},
        {"name": "c created", "code_repo": "https://git.example/c"},
        {"name": "d released", "code_repo": "https://git.example/d", "status": "failed", "fence": 3},
    )
    assert migrate(empty_url) == ALL[1:]
    after = all_rows(empty_url)
    assert [row["namespace"] for row in after] == ["team-a", "team-a", None, None]
    assert [{name: row[name] for name in before[0]} for row in after] == before  # updated_at and the fence included


def test_the_history_begins_with_the_ends_that_the_record_has(empty_url: str) -> None:
    finished = "2026-01-02T03:04:05.678000Z"
    failure = {"reason": "StepTransient", "message": "exit code 75", "step": "push", "exit_code": 75, "retryable": True}
    end = {
        "kind": "RetryScheduled",
        "attempt": 2,
        "reason": "RetryScheduled",
        "message": "later",
        "finished_at": finished,
    }
    done = {"kind": "Succeeded", "attempt": 1, "reason": "SetupSucceeded", "message": "done", "finished_at": finished}
    owner = {"owner_uid": "uid-1", "owner_namespace": "team-a", "owner_name": "p"}
    results = {
        "a": {**end, "failure": failure},
        "b": {**done, "recipe": "r", "commits": {"code_repo": "c0de"}},
        "c": {},
        "d": {**done, "attempt": 0},
        "e": None,
    }
    projects = [
        {
            "name": name,
            "code_repo": f"https://g.example/{name}",
            "attempt_result": None if result is None else Jsonb(result),
            **owner,
        }
        for name, result in results.items()
    ]
    at_version(empty_url, "0004", *projects)
    assert migrate(empty_url) == ["0005"]
    with psycopg.connect(empty_url, row_factory=dict_row) as sql:
        first, second = sql.execute("SELECT * FROM setup_attempts ORDER BY id").fetchall()
    assert (first["attempt"], first["outcome"], first["reason"], first["message"]) == (
        2,
        "Failed",
        "StepTransient",
        "exit code 75",
    )
    assert (first["step"], first["exit_code"], first["namespace"], first["setup_uid"]) == (
        "push",
        75,
        "team-a",
        "uid-1",
    )
    assert (second["outcome"], second["reason"], second["recipe"], second["code_commit"]) == (
        "Succeeded",
        "SetupSucceeded",
        "r",
        "c0de",
    )
    assert (second["started_at"], second["finished_at"].isoformat()) == (None, "2026-01-02T03:04:05.678000+00:00")


def test_existing_repositories_and_names_are_migrated(empty_url: str) -> None:
    before = at_version(
        empty_url,
        "0002",
        {"name": "app", "code_repo": "https://Git.example/t/app.git", "docs_repo": "git@git.example:t/docs"},
        {"name": "Cafe\u0301", "code_repo": "/srv/git/one.git"},
    )
    assert migrate(empty_url) == ALL[2:]
    after = all_rows(empty_url)
    assert [row["name"] for row in after] == ["Caf\u00e9", "app"]
    assert [row | {"name": ""} for row in after] == [row | {"name": ""} for row in before]
    with psycopg.connect(empty_url) as sql:
        keys = sql.execute("SELECT key, field FROM project_repositories ORDER BY key").fetchall()
    assert keys == [
        ("/srv/git/one", "code_repo"), ("git.example/t/app", "code_repo"), ("git.example/t/docs", "docs_repo"),
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_projects_that_share_a_repository_stop_the_migration(empty_url: str, version: str) -> None:
    ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(5)]
    before = at_version(
        empty_url,
        version,
        {"id": ids[0], "name": "a", "code_repo": "https://git.example/t/app"},
        {"id": ids[1], "name": "b", "code_repo": "https://x.example/b", "docs_repo": "git@GIT.example:t/app.git"},
        {"id": ids[2], "name": "c", "code_repo": "https://x.example/c", "docs_repo": "https://x.example/c/"},
        {"id": ids[3], "name": "d", "code_repo": "https://x.example/d"},
    )
    with pytest.raises(MigrationFailed) as caught:
        migrate(empty_url)
    assert str(caught.value) == (
        "nothing was migrated: each repository may be used once, but "
        f"git.example/t/app is code_repo of project {ids[0]} 'a' and docs_repo of project {ids[1]} 'b'; "
        f"x.example/c is code_repo of project {ids[2]} 'c' and docs_repo of project {ids[2]} 'c'; "
        "give all but one of them another with UPDATE projects in SQL, or delete them, and migrate again"
    )
    assert all_rows(empty_url) == before
    with psycopg.connect(empty_url, autocommit=True) as sql:
        assert sql.execute(SQL("SELECT version_num FROM {}").format(Identifier(VERSION_TABLE))).fetchone() == (version,)
        assert sql.execute("SELECT to_regclass('project_repositories')").fetchone() == (None,)
        sql.execute("UPDATE projects SET docs_repo = NULL")
    assert migrate(empty_url)[-1] == ALL[-1]


def test_many_clashes_are_counted(empty_url: str) -> None:
    rows = [
        {"name": f"{number}-{kind}", "code_repo": f"https://g.example/{number}{kind}"}
        for number in range(7)
        for kind in ("", ".git")
    ]
    at_version(empty_url, "0002", *rows)
    with pytest.raises(MigrationFailed, match=r"g\.example/4 is .*; and 2 more; give all but one") as caught:
        migrate(empty_url)
    assert "\n" not in str(caught.value)


def test_equivalent_names_stop_the_migration(empty_url: str) -> None:
    at_version(
        empty_url,
        "0002",
        {"name": "Cafe\u0301", "code_repo": "https://x.example/a"},
        {"name": "Caf\u00e9", "code_repo": "https://x.example/b"},
    )
    with pytest.raises(MigrationFailed, match="each name may be used once, but Caf\u00e9 is name of project "):
        migrate(empty_url)


async def test_a_foreign_table_is_left_alone(empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as sql:
        sql.execute("CREATE TABLE projects (title text)")
        with pytest.raises(MigrationFailed, match="has a table projects that projectsetup did not create"):
            migrate(empty_url)
        assert sql.execute("SELECT title FROM projects").fetchall() == []
    async with ProjectRecord.connect(empty_url) as record:
        with pytest.raises(DatabaseUnavailable, match=r"run projectsetup migrate, which .* says what is wrong"):
            await record.ping()


def test_a_newer_schema_is_left_alone(empty_url: str) -> None:
    migrate(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as sql:
        sql.execute(SQL("UPDATE {} SET version_num = '9999'").format(Identifier(VERSION_TABLE)))
    with pytest.raises(MigrationFailed, match="was migrated by a newer version of projectsetup"):
        migrate(empty_url)


def test_a_migration_gives_up_after_its_limit(empty_url: str) -> None:
    with psycopg.connect(empty_url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        with pytest.raises(DatabaseUnavailable) as caught:
            migrate(empty_url, limit=0.3)
    assert str(caught.value).isprintable()
    assert migrate(empty_url) == ALL


def test_an_obstacle_is_reported_in_one_line(empty_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"^PostgreSQL at .* has no database nowhere$"):
        migrate(urlsplit(empty_url)._replace(path="/nowhere").geturl())
    with pytest.raises(InvalidDatabaseUrl):
        migrate("sqlite://")
