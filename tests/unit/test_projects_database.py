from __future__ import annotations

import psycopg
import pytest
from psycopg import errors as driver
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.database import translated
from projectsetup.projects.errors import DatabaseUnavailable

ADDRESS = DatabaseAddress.parse("postgresql://app:secret@127.0.0.1:5432/app")
MIGRATE = "lacks the tables this version needs: run projectsetup migrate"

OUTDATED = "has tables that this version cannot use: run projectsetup migrate, which updates them or says what is wrong"


def wrapped(cause: psycopg.Error) -> DBAPIError:
    return DBAPIError("SELECT 1", None, cause)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("08006", "lost the connection (why)"),
        ("28P01", "refused the login of user app"),
        ("28000", "refused the login of user app"),
        ("3D000", "has no database app"),
        ("40001", "rolled back the transaction (why)"),
        ("40P01", "rolled back the transaction (why)"),
        ("42P01", MIGRATE),
        ("42703", OUTDATED),
        ("42501", "does not give user app the rights it needs (why)"),
        ("53300", "has no free connection"),
        ("53100", "is out of resources (why)"),
        ("55P03", "could not take a lock in time"),
        ("57014", "cancelled a statement that took too long"),
        ("57P01", "ended the connection (why)"),
        ("57P03", "is starting up or shutting down"),
        ("25006", "is read-only now"),
        ("25P03", "ended the connection (why)"),
    ],
)
def test_sqlstates_that_mean_unavailable(state: str, sentence: str) -> None:
    error = translated(wrapped(driver.lookup(state)("why")), ADDRESS)
    assert isinstance(error, DatabaseUnavailable)
    assert str(error) == f"PostgreSQL at 127.0.0.1:5432/app {sentence}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Connection refused\n\tIs the server running?", "refuses connections: is it running?"),
        ("FATAL:  the database system is starting up", "is starting up"),
        ("FATAL:  the database system is not yet accepting connections", "is starting up"),
        ("FATAL:  the database system is in recovery mode", "is starting up"),
        ("FATAL:  the database system is shutting down", "is shutting down"),
        ("FATAL:  sorry, too many clients already", "has no free connection"),
        ("FATAL:  remaining connection slots are reserved for roles with …", "has no free connection"),
        ("session is read-only", "is read-only now"),
        ('FATAL:  password authentication failed for user "app"', "refused the login of user app"),
        ('FATAL:  no pg_hba.conf entry for host "::1"', "refused the login of user app"),
        ('FATAL:  role "app" does not exist', "refused the login of user app"),
        ('FATAL:  database "app" does not exist', "has no database app"),
        ("FATAL:  permission denied for database app", "refuses access to app (permission denied for database app)"),
        ("FATAL:  unheard of\nmore", "cannot be reached (unheard of)"),
        ("Connection reset by peer", "cannot be reached (Connection reset by peer)"),
    ],
)
def test_connection_errors_that_mean_unavailable(text: str, sentence: str) -> None:
    server = 'connection to server at "127.0.0.1", port 5432 failed'
    cause = psycopg.OperationalError(f"connection failed: {server}: {text}")
    for exc in (cause, wrapped(cause)):
        assert str(translated(exc, ADDRESS)) == f"PostgreSQL at 127.0.0.1:5432/app {sentence}"


@pytest.mark.parametrize(
    ("exc", "sentence"),
    [
        (TimeoutError(), "does not answer"),
        (OperationalError("", None, driver.ConnectionTimeout("connection timeout expired")), "does not answer"),
        (OperationalError("", None, psycopg.OperationalError("lost")), "cannot be reached (lost)"),
        (InterfaceError("", None, psycopg.InterfaceError("closed")), "cannot be reached (closed)"),
        (ConnectionResetError("reset"), "cannot be reached (reset)"),
    ],
)
def test_errors_without_a_state(exc: Exception, sentence: str) -> None:
    error = translated(exc, ADDRESS)
    assert isinstance(error, DatabaseUnavailable)
    assert str(error) == f"PostgreSQL at 127.0.0.1:5432/app {sentence}"


@pytest.mark.parametrize("state", ["22001", "23514", "42601", "42804", "XX000"])
def test_other_errors_are_not_translated(state: str) -> None:
    assert translated(wrapped(driver.lookup(state)("bug")), ADDRESS) is None
    assert translated(ValueError("bug"), ADDRESS) is None
