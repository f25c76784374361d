"""Where the database is: a PostgreSQL URL, read by libpq itself, so that every parameter it knows is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from projectsetup.projects.errors import InvalidDatabaseUrl

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXAMPLE = "postgresql://user:password@host:5432/database"
_USERINFO = re.compile(r"\A[^@/]*@")
_PORT = "5432"
_HIGHEST_PORT = 65_535
_SHOWN = ("host", "hostaddr", "port", "dbname", "user")
_DEFAULTS = {
    "application_name": "projectsetup",
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A checked database URL. Neither `str` nor `repr` shows the password."""

    parameters: Mapping[str, str] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> DatabaseAddress:
        """Reads `postgresql://` or `postgres://`. Raises InvalidDatabaseUrl: one line that does not show the URL."""
        url = url.strip()
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in ("postgresql", "postgres") or not url.isprintable():
            raise InvalidDatabaseUrl(f"the database URL must look like {_EXAMPLE}")
        if "@" in _USERINFO.sub("", rest, count=1):
            raise InvalidDatabaseUrl(
                "special characters of user and password must be percent-encoded (@ is %40, / is %2F)"
            )
        try:
            parsed = conninfo_to_dict(url)
        except psycopg.Error as exc:
            raise InvalidDatabaseUrl(f"the database URL cannot be read: it must look like {_EXAMPLE}") from exc
        given = {key: str(value) for key, value in parsed.items() if value is not None}
        if not (given.get("host") or given.get("hostaddr")):
            raise InvalidDatabaseUrl(f"the database URL names no host: it must look like {_EXAMPLE}")
        if not "".join(given.get(key, "") for key in _SHOWN).isprintable():
            raise InvalidDatabaseUrl("the database URL holds characters that cannot be printed")
        for port in given.get("port", "").split(","):
            if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
                raise InvalidDatabaseUrl("the port of the database URL must be a number from 1 to 65535")
        return cls(_DEFAULTS | given)

    @property
    def conninfo(self) -> str:
        """What libpq connects with; it holds the password."""
        return make_conninfo(**self.parameters)

    @property
    def user(self) -> str:
        """The user who logs in, for messages."""
        return self.parameters.get("user", "(the user of this process)")

    @property
    def database(self) -> str:
        """The name of the database, for messages."""
        return self.parameters.get("dbname", self.user)

    def __str__(self) -> str:
        hosts = (self.parameters.get("host") or self.parameters["hostaddr"]).split(",")
        ports = self.parameters.get("port", "").split(",")
        places = zip(hosts, ports * len(hosts), strict=False)
        servers = (f"{f'[{host}]' if ':' in host else host}:{port or _PORT}" for host, port in places)
        return f"PostgreSQL at {','.join(servers)}/{self.database}"
