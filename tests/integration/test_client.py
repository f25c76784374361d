"""The Python client in the transactions of an application: psycopg and SQLAlchemy, sync and async."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from projectsetup.client import SetupRefused, cancel_setup, setup_project

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    Calls = Callable[[str], AbstractAsyncContextManager[tuple[Callable[..., Any], Callable[..., Any], Any]]]


@asynccontextmanager
async def psycopg_sync(url: str) -> AsyncIterator[Any]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        yield _awaitable(setup_project), _awaitable(cancel_setup), connection


@asynccontextmanager
async def psycopg_async(url: str) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield setup_project, cancel_setup, connection


@asynccontextmanager
async def sqlalchemy_sync(url: str) -> AsyncIterator[Any]:
    with Session(create_engine(_driver(url))) as session, session.begin():
        yield _awaitable(setup_project), _awaitable(cancel_setup), session


@asynccontextmanager
async def sqlalchemy_async(url: str) -> AsyncIterator[Any]:
    async with AsyncSession(create_async_engine(_driver(url))) as session, session.begin():
        yield setup_project, cancel_setup, session


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _awaitable(call: Callable[..., Any]) -> Callable[..., Any]:
    async def called(*given: Any, **named: Any) -> Any:
        return call(*given, **named)

    return called


ASKED = {
    "recipe": "go-service",
    "parameters": {"license": "MIT"},
    "priority": 0,
    "max_attempts": 5,
    "backoff": "30s",
    "credentials_secret": "git",
}
EACH = pytest.mark.parametrize("transaction", [psycopg_sync, psycopg_async, sqlalchemy_sync, sqlalchemy_async])


@pytest.fixture
def project(database_url: str) -> UUID:
    made = uuid4()
    with psycopg.connect(database_url) as sql:
        sql.execute("INSERT INTO projects (id, name, code_repo) VALUES (%s, 'app', 'https://git.example/app')", (made,))
    return made


def requests(url: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as sql:
        return sql.execute("SELECT * FROM setup_requests ORDER BY number").fetchall()


@EACH
async def test_requests_and_cancels_commit_with_the_transaction(
    database_url: str, project: UUID, transaction: Calls
) -> None:
    async with transaction(database_url) as (setup, cancel, connection):
        made = await setup(connection, project, **ASKED)
        assert isinstance(made, UUID)
        assert await cancel(connection, project) == "ok"
        assert await cancel(connection, uuid4()) == "not_found"
        assert requests(database_url) == []
    asked, cancelled = requests(database_url)
    assert (asked["id"], asked["kind"], cancelled["kind"]) == (made, "setup", "cancel")
    assert {name: asked[name] for name in ASKED} == ASKED


@EACH
async def test_a_transaction_that_is_rolled_back_leaves_nothing(
    database_url: str, project: UUID, transaction: Calls
) -> None:
    with suppress(ZeroDivisionError):
        async with transaction(database_url) as (setup, _, connection):
            assert await setup(connection, project)
            raise ZeroDivisionError
    assert requests(database_url) == []


@EACH
async def test_a_refusal_is_one_line_that_says_why(database_url: str, project: UUID, transaction: Calls) -> None:
    missing = uuid4()
    with pytest.raises(SetupRefused, match=f"^project {missing} does not exist$"):
        async with transaction(database_url) as (setup, _, connection):
            await setup(connection, missing)
    with pytest.raises(SetupRefused, match=r"^priority must be 0 to 9, not 12$"):
        async with transaction(database_url) as (setup, _, connection):
            await setup(connection, project, priority=12)


def test_another_object_is_refused() -> None:
    with pytest.raises(TypeError, match="str is not a connection or session of psycopg or SQLAlchemy"):
        setup_project("postgresql://", uuid4())  # type: ignore[call-overload]  # on purpose


def test_importing_it_loads_neither_kopf_nor_kubernetes() -> None:
    script = "import sys, projectsetup.client; print(*{'kopf', 'kubernetes', 'aiohttp', 'pydantic'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
