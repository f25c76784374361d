"""Databases on one server: copies of a template that is migrated once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from threading import Lock
from uuid import uuid4

import psycopg

from projectsetup.projects.migrate import migrate

_TEMPLATE = "template_migrated"
_CREATING = Lock()

NewDatabase = Callable[[], AbstractContextManager[str]]
"""The fixture `new_database`."""


def create_database(server: str) -> str:
    """Create a migrated, empty database; `server` is a superuser's URL, and the result the URL of the database."""
    with _CREATING:
        _create_template(server)
    name = f"test_{uuid4().hex[:12]}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    return on_database(server, name)


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """The same, and drop the database afterwards."""
    url = create_database(server)
    yield url
    _execute(server, f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


def on_database(url: str, name: str) -> str:
    """The same server, another database."""
    return f"{url.rpartition('/')[0]}/{name}"


@cache
def _create_template(server: str) -> None:
    _execute(server, f"CREATE DATABASE {_TEMPLATE}")
    migrate(on_database(server, _TEMPLATE))


def _execute(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.encode())
