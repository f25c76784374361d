"""The record and a real PostgreSQL that is unavailable, frozen, full, locked or inaccessible."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql as text

from devcluster.ports import free_port
from devcluster.postgres import Postgres
from projectsetup.projects import DatabaseUnavailable, Owner, ProjectRecord, ProjectStatus
from projectsetup.projects import database as database_module
from projectsetup.projects.migrate import migrate
from projectsetup.projects.statements import Statement
from tests.support.tcp_proxy import TcpProxy, through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    Sql = psycopg.Connection[tuple[object, ...]]

OWNER = Owner("uid-1", "team-a", "p")
SHORT = 2.0
BACKEND = Statement("SELECT pg_backend_pid() AS pid", {}, reads=True)


@asynccontextmanager
async def opened(database_url: str, *, call_limit: float = 15.0) -> AsyncIterator[ProjectRecord]:
    async with ProjectRecord.connect(database_url, call_limit=call_limit) as record:
        yield record


@pytest.fixture
def proxy(database_url: str) -> Iterator[TcpProxy]:
    with TcpProxy(urlsplit(database_url).port or 0) as proxy:
        yield proxy
        proxy.thaw()


@pytest.fixture
def proxied_url(database_url: str, proxy: TcpProxy) -> str:
    """The database through the proxy."""
    return through(database_url, proxy)


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def role(sql: Sql) -> Iterator[str]:
    name = f"role_{uuid4().hex}"
    sql.execute(text.SQL("CREATE ROLE {} LOGIN PASSWORD 'geheim'").format(text.Identifier(name)))
    yield name
    sql.execute(text.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(text.Identifier(name)))


def as_user(database_url: str, userinfo: str) -> str:
    parts = urlsplit(database_url)
    return parts._replace(netloc=f"{userinfo}@{parts.netloc.rpartition('@')[2]}").geturl()


async def unavailable(record: ProjectRecord) -> str:
    """The error of a call to the record, which must come within the limit of a call."""
    async with asyncio.timeout(30):
        with pytest.raises(DatabaseUnavailable) as caught:
            await record.ping()
    message = str(caught.value)
    assert message.startswith("PostgreSQL at ")
    assert message.isprintable()
    assert "geheim" not in message
    return message


async def locked_out(sql: Sql) -> None:
    """Returns once another connection of this database waits for a lock."""
    async with asyncio.timeout(10):
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while sql.execute(waiting).fetchone() is None:  # noqa: ASYNC110 - the server has no event to await
            await asyncio.sleep(0.01)


async def test_a_database_that_is_interrupted(proxied_url: str, proxy: TcpProxy) -> None:
    async with opened(proxied_url) as record:
        made = await record.create(name="App", code_repo="https://git.example/a")
        proxy.close()
        for _ in range(3):
            assert (await unavailable(record)).endswith("refuses connections: is it running?")
        proxy.open()
        assert await record.get(made.id) == made


async def test_a_server_that_is_killed_and_restarted(tmp_path: Path) -> None:
    server = Postgres(tmp_path, port=free_port(), password="geheim", fsync=True)
    server.start()
    try:
        migrate(server.url)
        async with opened(server.url) as record:
            made = await record.create(name="App", code_repo="https://git.example/a")
            server.program.kill()
            await unavailable(record)
            server.start()
            assert await record.get(made.id) == made
    finally:
        server.program.kill()


async def test_lost_connections_are_replaced(proxied_url: str, proxy: TcpProxy, sql: Sql) -> None:
    async with opened(proxied_url) as record:
        made = await record.create(name="App", code_repo="https://git.example/a")
        sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert await record.get(made.id) == made
        proxy.close()
        proxy.open()
        assert await record.get(made.id) == made


@pytest.mark.parametrize(("serves_for", "replaced"), [(300.0, False), (0.0, True)])
async def test_old_connections_are_replaced(
    database_url: str, monkeypatch: pytest.MonkeyPatch, serves_for: float, replaced: bool
) -> None:
    monkeypatch.setattr(database_module, "SERVES_FOR", serves_for)
    async with opened(database_url) as record:
        asked = [await record._database.rows(BACKEND) for _ in range(2)]
    assert (asked[0] != asked[1]) is replaced


async def test_a_closed_record_leaves_no_connection(database_url: str, sql: Sql) -> None:
    async with opened(database_url) as record:
        ((backend,),) = await record._database.rows(BACKEND)
    gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
    async with asyncio.timeout(10):
        while sql.execute(gone, [backend]).fetchone() != (True,):  # noqa: ASYNC110 - the server has no event to await
            await asyncio.sleep(0.01)


async def test_a_frozen_database_does_not_block_a_call(proxied_url: str, proxy: TcpProxy) -> None:
    async with opened(proxied_url, call_limit=SHORT) as record:
        made = await record.create(name="App", code_repo="https://git.example/a")
        proxy.freeze()
        for _ in range(2):
            await asyncio.gather(*(unavailable(record) for _ in range(12)))
        proxy.thaw()
        assert await record.get(made.id) == made


async def test_a_silent_server_does_not_block_a_call(proxied_url: str, proxy: TcpProxy) -> None:
    proxy.freeze()
    async with opened(f"{proxied_url}?connect_timeout=2") as record:
        assert (await unavailable(record)).endswith("does not answer")


async def test_a_call_that_loses_its_connection_is_unavailable(proxied_url: str, proxy: TcpProxy, sql: Sql) -> None:
    async with opened(proxied_url) as record:
        made = await record.create(name="App", code_repo="https://git.example/a")
        with sql.transaction():
            sql.execute("SELECT FROM projects FOR UPDATE")
            claim = asyncio.create_task(record.claim(made.id, OWNER, attempt=1, status=ProjectStatus.INITIALIZING))
            await locked_out(sql)
            proxy.close()
            with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
                await claim
        proxy.open()
        await record.ping()


async def test_a_lock_does_not_block_a_call(database_url: str, sql: Sql) -> None:
    async with opened(database_url, call_limit=SHORT) as record:
        made = await record.create(name="App", code_repo="https://git.example/a")
        with sql.transaction():
            sql.execute("SELECT FROM projects FOR UPDATE")
            with pytest.raises(DatabaseUnavailable, match="does not answer"):
                await record.queue(made.id, "team-a")
            assert await record.get(made.id) == made
        assert (await record.queue(made.id, "team-a")).status is ProjectStatus.SETUP_QUEUED


async def test_a_cancelled_call_returns_at_once(database_url: str, sql: Sql) -> None:
    async with opened(database_url) as record:
        made = await record.create(name="App", code_repo="https://git.example/a")
        with sql.transaction():
            sql.execute("SELECT FROM projects FOR UPDATE")
            queueing = asyncio.create_task(record.queue(made.id, "team-a"))
            await locked_out(sql)
            queueing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await queueing
            assert await record.get(made.id) == made


async def test_the_server_ends_long_statements(database_url: str) -> None:
    async with opened(database_url) as record:
        (found,) = await record._database.rows(Statement("SHOW statement_timeout", {}, reads=True))
        assert found[0] == "10s"
        with pytest.raises(DatabaseUnavailable, match="cancelled a statement that took too long"):
            await record._database.rows(Statement("SELECT pg_sleep(11)", {}, reads=True))


async def test_more_calls_than_connections_wait_for_their_turn(database_url: str) -> None:
    async with opened(database_url) as record:
        made = await record.create(name="App", code_repo="https://git.example/a")
        assert await asyncio.gather(*(record.get(made.id) for _ in range(50))) == [made] * 50


async def test_what_the_server_refuses_is_named(database_url: str, sql: Sql, role: str) -> None:
    user = str(urlsplit(database_url).username)
    sql.execute(text.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(text.Identifier(role)))
    for url, sentence in (
        (as_user(database_url, "nobody-known:geheim"), "refused the login of user nobody-known"),
        (as_user(database_url, f"{user}:geheim"), f"refused the login of user {user}"),
        (urlsplit(database_url)._replace(path="/nowhere").geturl(), "has no database nowhere"),
        (as_user(database_url, f"{role}:geheim"), "has no free connection"),
    ):
        async with opened(url) as record:
            assert (await unavailable(record)).endswith(sentence)


async def test_a_role_without_rights(database_url: str, sql: Sql, role: str) -> None:
    async with opened(as_user(database_url, f"{role}:geheim")) as record:
        assert f"does not give user {role} the rights it needs" in await unavailable(record)
        for missing, right in (("SELECT", "INSERT"), ("SELECT", "UPDATE"), ("nothing", "SELECT")):
            assert "permission denied for table projects" in await unavailable(record), missing
            sql.execute(text.SQL(f"GRANT {right} ON projects TO {{}}").format(text.Identifier(role)))
        sql.execute(text.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(text.Identifier(role)))
        await record.ping()
        await record.try_write()


async def test_a_read_only_database(database_url: str, sql: Sql) -> None:
    database = text.Identifier(str(sql.info.dbname))
    sql.execute(text.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
    async with opened(database_url) as record:
        assert (await unavailable(record)).endswith("is read-only now")
        with pytest.raises(DatabaseUnavailable, match="is read-only now"):
            await record.create(name="App", code_repo="https://git.example/a")
        with pytest.raises(DatabaseUnavailable, match="is read-only now"):
            await record.try_write()
        assert await record.list() == ()


async def test_a_read_only_connection_is_not_reused(database_url: str, sql: Sql) -> None:
    database = text.Identifier(str(sql.info.dbname))
    async with opened(database_url) as record:
        before = {tuple(rows[0]) for rows in await asyncio.gather(*(record._database.rows(BACKEND) for _ in range(4)))}
        sql.execute(text.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
        await asyncio.gather(*(record._database._idle.pop().close() for _ in list(record._database._idle)[1:]))
        record._database._idle.append(await database_module.connect(record._database._address))
        with pytest.raises(DatabaseUnavailable, match="is read-only now"):
            await record.create(name="App", code_repo="https://git.example/a")
        sql.execute(text.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(database))
        made = await record.create(name="App", code_repo="https://git.example/a")
        ((backend,),) = await record._database.rows(BACKEND)
        assert (backend,) not in before
        assert await record.list() == (made,)


async def test_try_write_changes_nothing_and_does_not_block(database_url: str, sql: Sql) -> None:
    async with opened(database_url) as record:
        await record.try_write()
        made = await record.create(name="App", code_repo="https://git.example/a")
        with sql.transaction():
            sql.execute("SELECT FROM projects FOR UPDATE")
            async with asyncio.timeout(5):
                await record.try_write()
        await record.try_write()
        assert await record.list() == (made,)


async def test_a_schema_change_under_a_running_record(database_url: str, sql: Sql) -> None:
    async with opened(database_url) as record:
        made = await record.create(name="App", code_repo="https://git.example/a")
        for _ in range(6):
            assert await record.get(made.id) == made
        sql.execute("ALTER TABLE projects ADD COLUMN added text, ALTER COLUMN name TYPE varchar(120)")
        assert await record.get(made.id) == made
        sql.execute("ALTER TABLE projects DROP COLUMN attempt_result")
        assert "has tables that this version cannot use" in await unavailable(record)
