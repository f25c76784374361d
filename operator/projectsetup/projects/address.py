"""The address of the database: a PostgreSQL URL, parsed by libpq itself, so that all its parameters work."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from projectsetup.projects.errors import InvalidDatabaseUrl

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = "postgresql://user:password@host:5432/database?sslmode=verify-full"
_USERINFO = re.compile(r"\A[^@/]*@")
_REFUSED_PARAMETER = re.compile(r'URI query parameter: "(\w{1,40})"')
_REFUSED_VALUE = re.compile(r'invalid "?(\w+)"? value')
_PORT = "5432"
_HIGHEST_PORT = 65_535
_NUMBER = re.compile("[0-9]{1,9}")
_SHOWN = ("host", "hostaddr", "port", "dbname", "user")
_NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir")
_SECRETS = ("password", "scram_client_key", "scram_server_key", "oauth_client_secret")
_VALUES = {
    "sslmode": "disable, allow, prefer, require, verify-ca or verify-full",
    "target_session_attrs": "any, read-write, read-only, primary, standby or prefer-standby",
}
_NO_SERVER = "/nonexistent"
_DEFAULTS = {
    "application_name": "projectsetup",
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_DEFAULTS_OF_SEVERAL_HOSTS = {"target_session_attrs": "read-write"}


class Protection(StrEnum):
    """How far the traffic with the server is protected against an attacker on the network."""

    LOCAL = "local"
    """The traffic stays on this machine."""
    VERIFIED = "verified"
    """Encrypted, and the server proves that it is the one in the URL."""
    ENCRYPTED = "encrypted"
    """Encrypted, but another server can pose as the database."""
    NONE = "none"
    """An attacker can force plain text."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A checked database URL. Neither `str` nor `repr` shows the password."""

    parameters: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_environment(cls) -> DatabaseAddress:
        """The address in DATABASE_URL. Raises InvalidDatabaseUrl."""
        url = os.environ.get("DATABASE_URL", "")
        if not url:
            raise InvalidDatabaseUrl(f"DATABASE_URL is not set (expected {EXAMPLE})")
        return cls.parse(url)

    @classmethod
    def parse(cls, url: str) -> DatabaseAddress:
        """Parse a `postgresql://` or `postgres://` URL. Raises InvalidDatabaseUrl, one line without the URL."""
        url = url.strip()
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in ("postgresql", "postgres") or not url.isprintable():
            raise InvalidDatabaseUrl(f"the database URL is invalid (expected {EXAMPLE})")
        if "@" in _USERINFO.sub("", rest, count=1):
            raise InvalidDatabaseUrl(
                "special characters in user and password must be percent-encoded (@ is %40, / is %2F)"
            )
        try:
            parsed = conninfo_to_dict(url)
        except psycopg.Error as exc:
            raise InvalidDatabaseUrl(_unreadable(url, str(exc))) from exc
        except UnicodeDecodeError as exc:
            raise InvalidDatabaseUrl("the percent-encoded characters of the database URL must be UTF-8") from exc
        given = {key: str(value) for key, value in parsed.items() if value is not None}
        hosts = (given.get("host") or given.get("hostaddr", "")).split(",")
        if not any(hosts):
            raise InvalidDatabaseUrl(f"the database URL names no host (expected {EXAMPLE})")
        if not "".join(given.get(key, "") for key in _SHOWN).isprintable():
            raise InvalidDatabaseUrl("the database URL contains unprintable characters")
        _check_values(given, hosts)
        return cls(_DEFAULTS | (_DEFAULTS_OF_SEVERAL_HOSTS if len(hosts) > 1 else {}) | given)

    @property
    def conninfo(self) -> str:
        """The connection string for libpq. Contains the password."""
        return make_conninfo(**self.parameters)

    @property
    def secret_files(self) -> list[Path]:
        """The files from which libpq reads a password or a private key for this database."""
        named = (
            self.parameters.get("passfile") or os.environ.get("PGPASSFILE") or "~/.pgpass",
            self.parameters.get("sslkey") or os.environ.get("PGSSLKEY") or "~/.postgresql/postgresql.key",
        )
        return [path for path in (Path(name).expanduser() for name in named) if path.is_file()]

    @property
    def user(self) -> str:
        """The login user, for messages."""
        return self.parameters.get("user", "(the user of this process)")

    @property
    def database(self) -> str:
        """The name of the database, for messages."""
        return self.parameters.get("dbname", self.user)

    @property
    def protection(self) -> Protection:
        """The protection that the URL and libpq's environment variables require."""
        hosts = (self.parameters.get("hostaddr") or self.parameters["host"]).split(",")
        if all(_is_here(host) for host in hosts):
            return Protection.LOCAL
        sslmode, gssencmode = self._effective("sslmode", "PGSSLMODE"), self._effective("gssencmode", "PGGSSENCMODE")
        system_roots = self._effective("sslrootcert", "PGSSLROOTCERT") == "system"
        if sslmode == "verify-full" or system_roots or gssencmode == "require":
            return Protection.VERIFIED
        return Protection.ENCRYPTED if sslmode in {"require", "verify-ca"} else Protection.NONE

    @property
    def warning(self) -> str | None:
        """One line for the user if the connection to the server is not fully protected."""
        match self.protection:
            case Protection.NONE:
                return (
                    f"the connection to {self} is not protected: others on the network can read and change the "
                    "password and all data; add sslmode=verify-full and sslrootcert=FILE to DATABASE_URL"
                )
            case Protection.ENCRYPTED:
                return (
                    f"the connection to {self} is encrypted, but another server can pose as the database; use "
                    "sslmode=verify-full and sslrootcert=FILE in DATABASE_URL"
                )
        return None

    def _effective(self, parameter: str, variable: str) -> str:
        return self.parameters.get(parameter) or os.environ.get(variable, "")

    def __str__(self) -> str:
        hosts = (self.parameters.get("host") or self.parameters["hostaddr"]).split(",")
        ports = self.parameters.get("port", "").split(",")
        places = zip(hosts, ports * len(hosts), strict=False)
        servers = (f"{f'[{host}]' if ':' in host else host}:{port or _PORT}" for host, port in places)
        return f"PostgreSQL at {','.join(servers)}/{self.database}"


def _unreadable(url: str, why: str) -> str:
    """Why libpq refuses the URL; names a parameter only if that cannot be part of a secret."""
    refused = _REFUSED_PARAMETER.search(why)
    if refused is None or any(f"{name}=" in url for name in _SECRETS):
        return f"the database URL cannot be parsed (expected {EXAMPLE})"
    if "missing" in why or "extra" in why:
        return f"parameter {refused[1]} of the database URL must be written {refused[1]}=VALUE"
    return f"the database URL has an unknown parameter: {refused[1]}; remove it"


def _check_values(given: Mapping[str, str], hosts: list[str]) -> None:
    for port in given.get("port", "").split(","):
        if port and not (_NUMBER.fullmatch(port) and 0 < int(port) <= _HIGHEST_PORT):
            raise InvalidDatabaseUrl("the port of the database URL must be a number from 1 to 65535")
    for name in _NUMBERS:
        value = given.get(name, "0")
        if not _NUMBER.fullmatch(value):
            raise InvalidDatabaseUrl(f"{name} of the database URL must be a number")
    for name in _FILES:
        file = given.get(name, "")
        is_elsewhere = file in {"", "system"} or ":" in file  # the system's roots, or a key in an OpenSSL engine
        if not (is_elsewhere or os.access(file, os.R_OK)):
            raise InvalidDatabaseUrl(f"{name} of the database URL names a file that is missing or unreadable")
    if given.get("host") and given.get("hostaddr") and len(hosts) != len(given["hostaddr"].split(",")):
        raise InvalidDatabaseUrl("the database URL must have one hostaddr for each host")
    _ask_libpq(given, hosts)


def _ask_libpq(given: Mapping[str, str], hosts: list[str]) -> None:
    """Let libpq check the values as it does before connecting, with hosts at which nothing listens."""
    elsewhere = {name: value for name, value in given.items() if name != "hostaddr"}
    elsewhere["host"] = ",".join([_NO_SERVER] * len(hosts))
    connection = pq.PGconn.connect_start(make_conninfo("", **elsewhere).encode())
    said = connection.error_message.decode(errors="replace").strip()
    connection.finish()
    if f'on socket "{_NO_SERVER}/' in said or "not supported over a local socket" in said:
        return
    if refused := _REFUSED_VALUE.search(said):
        name = refused[1]
        known = f"must be {_VALUES[name]}" if name in _VALUES else "has an unknown value"
        raise InvalidDatabaseUrl(f"{name} of the database URL {known}")
    reason = " ".join(said.split())
    raise InvalidDatabaseUrl(
        f"the parameters of the database URL cannot be used{f': {reason}' if reason.isprintable() else ''}"
    )


def _is_here(host: str) -> bool:
    """Whether the host is this machine: a Unix socket (the default without a host) or a loopback address."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
