"""Migrations of the database schema."""

from __future__ import annotations

import os
import socket
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from psycopg.errors import DuplicateTable
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.database import translated
from projectsetup.projects.errors import MigrationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATION_LIMIT = 120.0
VERSION_TABLE = "projectsetup_schema_version"
_LOCK = 0x70726F6A656374  # "project": one migration of a database at a time


def migrate(database: str | DatabaseAddress, *, limit: float = MIGRATION_LIMIT) -> list[str]:
    """Apply the missing versions, all or none; returns their names, oldest first.

    Safe to run concurrently: the second call waits and finds nothing to do. Gives up after `limit` seconds.
    Raises InvalidDatabaseUrl (the text is not a URL), DatabaseUnavailable, MigrationFailed.
    """
    address = DatabaseAddress.parse(database) if isinstance(database, str) else database
    try:
        with closing(psycopg.connect(address.conninfo, prepare_threshold=None)) as driver, _limited(driver, limit):
            return _upgrade(driver)
    except CommandError as exc:
        raise MigrationFailed(f"{address} was migrated by a newer version of projectsetup") from exc
    except (SQLAlchemyError, psycopg.Error, OSError) as exc:
        if isinstance(exc, DBAPIError) and isinstance(exc.orig, DuplicateTable):
            raise MigrationFailed(
                f"{address} has a table projects that projectsetup did not create; use a separate database"
            ) from exc
        error = translated(exc, address)
        if error is None:
            raise
        raise error from exc


def _upgrade(driver: psycopg.Connection, to: str = "head") -> list[str]:
    applied: list[str] = []
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["version_table"] = VERSION_TABLE
    config.attributes["on_version_apply"] = lambda *, step, **_: applied.append(step.up_revision_id)
    engine = create_engine("postgresql+psycopg://", creator=lambda: driver, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        config.attributes["connection"] = connection
        command.upgrade(config, to)
    return applied


@contextmanager
def _limited(driver: psycopg.Connection, limit: float) -> Iterator[None]:
    """Cut the connection after `limit` seconds, even if the server is frozen and its own timeouts do not work."""
    timer = Timer(limit, _cut, args=(driver.fileno(),))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
