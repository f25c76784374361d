"""The one place where errors of SQLAlchemy and of the driver become errors of the record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
from psycopg.errors import UniqueViolation as DriverUniqueViolation
from sqlalchemy.exc import DBAPIError

from projectsetup.projects.errors import DatabaseUnavailable, RecordError, Trouble, UniqueViolation

if TYPE_CHECKING:
    from projectsetup.projects.address import DatabaseAddress

_BY_STATE = {
    "28": (Trouble.RIGHTS, "refuses the login of user {user}"),
    "3D": (Trouble.SCHEMA, "has no database {database}"),
    "42P01": (Trouble.SCHEMA, "lacks the tables this version needs: run projectsetup migrate"),
    "42703": (
        Trouble.SCHEMA,
        "has tables that this version cannot use: run projectsetup migrate, which updates them or says whose they are",
    ),
    "3F": (Trouble.SCHEMA, "lacks the tables this version needs: run projectsetup migrate"),
    "42501": (Trouble.RIGHTS, "does not give user {user} the rights it needs ({detail})"),
    "53300": (Trouble.BUSY, "has no free connection"),
    "53": (Trouble.BUSY, "is out of resources ({detail})"),
    "57P03": (Trouble.UNREACHABLE, "is starting up or shutting down"),
    "57014": (Trouble.TIMEOUT, "took too long over a statement"),
    "57": (Trouble.UNREACHABLE, "ended the connection ({detail})"),
    "55P03": (Trouble.BUSY, "could not take a lock in time"),
    "40": (Trouble.BUSY, "asks to try again ({detail})"),
    "25006": (Trouble.SERVER, "is read-only now"),
    "25P": (Trouble.UNREACHABLE, "ended the connection ({detail})"),
    "58": (Trouble.SERVER, "has a system error ({detail})"),
    "08": (Trouble.UNREACHABLE, "lost the connection ({detail})"),
}
_BY_TEXT = {
    r"timeout expired": (Trouble.TIMEOUT, "does not answer"),
    r"Connection refused": (Trouble.UNREACHABLE, "refuses connections: is it running?"),
    r"session is read-only|server is in hot standby mode": (Trouble.SERVER, "is read-only now"),
    r"failed to resolve host": (Trouble.UNREACHABLE, "is not to be found: no such host name"),
    r"too many clients|too many connections|remaining connection slots": (Trouble.BUSY, "has no free connection"),
    r"the database system is (starting up|in recovery|not yet accepting)": (Trouble.UNREACHABLE, "is starting up"),
    r"the database system is shutting down": (Trouble.UNREACHABLE, "is shutting down"),
    r'database "[^"]*" does not exist': (Trouble.SCHEMA, "has no database {database}"),
    r"permission denied for database|is not currently accepting": (
        Trouble.RIGHTS,
        "does not open {database} ({detail})",
    ),
    r'role "[^"]*" does not exist|role "[^"]*" is not permitted': (Trouble.RIGHTS, "refuses the login of user {user}"),
    r"authentication failed|no password supplied|no pg_hba.conf entry": (
        Trouble.RIGHTS,
        "refuses the login of user {user}",
    ),
}
_DETAIL_LENGTH = 200


def translated(exc: Exception, address: DatabaseAddress) -> RecordError | None:
    """What the error means for the callers of the record; None: it is a bug and must not be hidden."""
    if isinstance(exc, TimeoutError):
        return DatabaseUnavailable(f"{address} does not answer", Trouble.TIMEOUT)
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    if isinstance(cause, DriverUniqueViolation):
        return UniqueViolation(cause.diag.constraint_name or "")
    if isinstance(cause, (psycopg.Error, OSError)):
        known = _known(cause)
        if known is not None:
            trouble, sentence = known
            words = {"user": address.user, "database": address.database, "detail": _detail(cause)}
            return DatabaseUnavailable(f"{address} {sentence.format(**words)}", trouble)
    return None


def _known(cause: Exception) -> tuple[Trouble, str] | None:
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return _BY_STATE.get(state) or _BY_STATE.get(state[:3]) or _BY_STATE.get(state[:2])
    if not isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, OSError)):
        return None
    text = str(cause)
    known = (entry for pattern, entry in _BY_TEXT.items() if re.search(pattern, text))
    return next(known, (Trouble.UNREACHABLE, "cannot be reached ({detail})"))


def _detail(cause: Exception) -> str:
    if isinstance(cause, psycopg.Error) and cause.diag.message_primary:
        return cause.diag.message_primary[:_DETAIL_LENGTH]
    first = str(cause).partition("\n")[0]
    return first.rpartition("failed: ")[2].rpartition("FATAL:  ")[2].strip()[:_DETAIL_LENGTH] or type(cause).__name__
