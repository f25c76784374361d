"""PgBouncer between the operator and PostgreSQL: everything works, and nothing stays in the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from projectsetup.projects import DatabaseUnavailable, Owner, ProjectRecord, ProjectStatus
from projectsetup.projects.database import _CONNECTIONS
from projectsetup.projects.migrate import migrate
from projectsetup.projects.statements import Statement
from tests.support.git_host import self_signed
from tests.support.operator_sandbox import NewSandbox
from tests.support.pgbouncer import PGBOUNCER, Pooler
from tests.support.setup_handle import Setup

MODES = ("session", "transaction", "statement")
LEFTOVERS = """
SELECT 'setting', name || '=' || setting FROM pg_settings WHERE source = 'session' AND name <> 'application_name'
UNION ALL SELECT 'prepared statement', name FROM pg_prepared_statements
UNION ALL SELECT 'channel', pg_listening_channels()
UNION ALL SELECT 'lock', mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'temporary table', relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
"""


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    if why := PGBOUNCER.obstacle():
        pytest.skip(why)


@pytest.fixture(params=MODES)
def pooler(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Pooler]:
    with Pooler(tmp_path, database_url, mode=request.param) as pooler:
        yield pooler


async def use(record: ProjectRecord) -> None:
    """Every kind of statement that the operator carries out."""
    await record.try_write()
    made = await record.create(name="App", code_repo="https://git.example/app")
    await record.queue(made.id, "team")
    owner = Owner("uid", "team", "app")
    for attempt in range(1, 9):
        claimed = await record.claim(made.id, owner, attempt=attempt, status=ProjectStatus.INITIALIZING)
        assert await record.mark(made.id, claimed.fence, ProjectStatus.COMPILING)
        error = {"reason": "StepFailed", "step": "it's", "message": "100 % \\ 'ü'"}
        result = {"attempt": attempt}
        failed = ProjectStatus.FAILED
        assert await record.finish(made.id, claimed.fence, status=failed, setup_error=error, result=result)
    (found,) = await record.list()
    assert (found.setup_error, found.attempt_result) == (error, {"attempt": 8})
    await record.release(made.id, "uid")
    await record.delete(made.id)


async def test_nothing_is_left_in_the_session(pooler: Pooler) -> None:
    async with ProjectRecord.connect(pooler.url) as record:
        await use(record)
        with pytest.raises(psycopg.errors.DivisionByZero):
            await record._database.rows(Statement("SELECT 1 / 0", {}, reads=True))
    assert left_behind(pooler) == []


def left_behind(pooler: Pooler) -> list[tuple[object, ...]]:
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as stranger:
        return stranger.execute(LEFTOVERS).fetchall()


@pytest.mark.parametrize("pooler", MODES[:2], indirect=True)
def test_a_migration_leaves_nothing_in_the_session(pooler: Pooler, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert migrate(pooler.url)
    assert left_behind(pooler) == []


@pytest.mark.parametrize("pooler", MODES[2:], indirect=True)
def test_a_migration_needs_transactions(pooler: Pooler) -> None:
    with pytest.raises(DatabaseUnavailable, match="transaction blocks not allowed in statement pooling mode"):
        migrate(pooler.url)


@pytest.mark.parametrize("pooler", MODES[1:2], indirect=True)
async def test_a_long_query_of_another_client_is_not_cancelled(pooler: Pooler) -> None:
    async with ProjectRecord.connect(pooler.url) as record:
        await record.list()
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as stranger:
        assert stranger.execute("SELECT pg_sleep(11), 'done'").fetchone() == ("", "done")


@pytest.mark.parametrize("mode", ["session", "statement"])
def test_the_whole_operator_works(new_sandbox: NewSandbox, tmp_path: Path, mode: str) -> None:
    size = _CONNECTIONS if mode == "session" else 1  # each connection needs its own session
    with new_sandbox() as sandbox, Pooler(tmp_path, sandbox.database_url, mode=mode, size=size) as pooler:
        sandbox.operator.configure({"DATABASE_URL": pooler.url})
        sandbox.operator.start()
        for setup in [Setup.make(sandbox) for _ in range(8)]:
            assert setup.ended()[0] == "SetupSucceeded"
        assert "database unavailable" not in sandbox.operator.log.read_text()
        assert sandbox.operator.terminate() == 0
        assert left_behind(pooler) == []


async def test_a_certificate_is_verified(database_url: str, tmp_path: Path) -> None:
    tls, other, folder = tmp_path / "tls", tmp_path / "other", tmp_path / "pooler"
    for place in (tls, other, folder):
        place.mkdir()
    self_signed(tls, "127.0.0.1")
    self_signed(other, "127.0.0.1")
    with Pooler(folder, database_url, mode="transaction", tls=tls) as pooler:
        strict = f"{pooler.url}?sslmode=verify-full&sslrootcert="
        async with ProjectRecord.connect(f"{strict}{tls / 'certificate.pem'}") as record:
            await use(record)
        async with ProjectRecord.connect(f"{strict}{other / 'certificate.pem'}") as record:
            with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
                await record.ping()
        elsewhere = strict.replace("127.0.0.1", "localhost")
        async with ProjectRecord.connect(f"{elsewhere}{tls / 'certificate.pem'}") as record:
            with pytest.raises(DatabaseUnavailable, match="does not match host name"):
                await record.ping()
