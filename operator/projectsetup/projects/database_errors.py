"""The one place where errors of SQLAlchemy and of the driver become errors of the record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
from psycopg.errors import UniqueViolation as DriverUniqueViolation
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from projectsetup.projects.errors import DatabaseUnavailable, RecordError, UniqueViolation

if TYPE_CHECKING:
    from projectsetup.projects.address import DatabaseAddress

_BY_STATE = {
    "28": "refuses the login of user {user}",
    "3D": "has no database {database}",
    "42P01": "lacks the tables this version needs: run projectsetup migrate",
    "42703": "lacks the tables this version needs: run projectsetup migrate",
    "3F": "lacks the tables this version needs: run projectsetup migrate",
    "42501": "does not give user {user} the rights it needs ({detail})",
    "53300": "has no free connection",
    "53": "is out of resources ({detail})",
    "57P03": "is starting up or shutting down",
    "57014": "took too long over a statement",
    "57": "ended the connection ({detail})",
    "55P03": "could not take a lock in time",
    "40": "asks to try again ({detail})",
    "25006": "is read-only now",
    "25P": "ended the connection ({detail})",
    "58": "has a system error ({detail})",
    "08": "lost the connection ({detail})",
}
_BY_TEXT = {
    r"timeout expired": "does not answer",
    r"Connection refused": "refuses connections: is it running?",
    r"failed to resolve host": "is not to be found: no such host name",
    r"too many clients|too many connections|remaining connection slots": "has no free connection",
    r"the database system is (starting up|in recovery|not yet accepting)": "is starting up",
    r"the database system is shutting down": "is shutting down",
    r'database "[^"]*" does not exist': "has no database {database}",
    r"permission denied for database|is not currently accepting": "does not open {database} ({detail})",
    r'role "[^"]*" does not exist|role "[^"]*" is not permitted': "refuses the login of user {user}",
    r"authentication failed|no password supplied|no pg_hba.conf entry": "refuses the login of user {user}",
}
_DETAIL_LENGTH = 200


def translated(exc: Exception, address: DatabaseAddress) -> RecordError | None:
    """What the error means for the callers of the record; None: it is a bug and must not be hidden."""
    if isinstance(exc, PoolTimeout):
        return DatabaseUnavailable(f"{address}: all connections of this process are busy")
    if isinstance(exc, TimeoutError):
        return DatabaseUnavailable(f"{address} does not answer")
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    if isinstance(cause, DriverUniqueViolation):
        return UniqueViolation(cause.diag.constraint_name or "")
    if isinstance(cause, (psycopg.Error, OSError)):
        sentence = _sentence(cause)
        if sentence is not None:
            words = {"user": address.user, "database": address.database, "detail": _detail(cause)}
            return DatabaseUnavailable(f"{address} {sentence.format(**words)}")
    return None


def _sentence(cause: Exception) -> str | None:
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return _BY_STATE.get(state) or _BY_STATE.get(state[:3]) or _BY_STATE.get(state[:2])
    if not isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, OSError)):
        return None
    text = str(cause)
    known = (sentence for pattern, sentence in _BY_TEXT.items() if re.search(pattern, text))
    return next(known, "cannot be reached ({detail})")


def _detail(cause: Exception) -> str:
    if isinstance(cause, psycopg.Error) and cause.diag.message_primary:
        return cause.diag.message_primary[:_DETAIL_LENGTH]
    first = str(cause).partition("\n")[0]
    return first.rpartition("failed: ")[2].rpartition("FATAL:  ")[2].strip()[:_DETAIL_LENGTH] or type(cause).__name__
