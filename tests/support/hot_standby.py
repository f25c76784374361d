"""A PostgreSQL and its hot standby with streaming replication."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final, Self

import psycopg

from devcluster.ports import free_port
from devcluster.postgres import NOBODY, Postgres, as_ordinary_user, binaries
from tests.support.operator_process import wait_for

_COPY_LIMIT: Final = 120.0


class Pair:
    """Both servers, on free ports of this machine; the standby can be promoted."""

    def __init__(self, folder: Path) -> None:
        self._password = secrets.token_hex(8)
        self.primary = self._server(folder / "primary")
        self._standby_folder = folder / "standby"
        self.standby = self._server(self._standby_folder)

    def __enter__(self) -> Self:
        self.primary.start()
        self._copy()
        self.standby.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.standby.kill()
        self.primary.kill()

    def follow(self) -> None:
        """Return once the standby has replayed all writes of the primary."""
        with psycopg.connect(self.primary.url) as there, psycopg.connect(self.standby.url) as here:
            (written,) = there.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or ("",)
            replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_for(lambda: here.execute(replayed, [written]).fetchone() == (True,), "the standby to catch up")

    def promote(self) -> None:
        """Make the standby a primary."""
        with psycopg.connect(self.standby.url, autocommit=True) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)

    def _server(self, folder: Path) -> Postgres:
        folder.mkdir(parents=True)
        return Postgres(folder, port=free_port(), password=self._password, fsync=False)

    def _copy(self) -> None:
        target = self._standby_folder / "postgres"
        target.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(target, NOBODY)
        command = [str(binaries() / "pg_basebackup"), "-d", self.primary.url, "-D", str(target), "-R", "-c", "fast"]
        subprocess.run(as_ordinary_user([*command, "--no-sync"]), check=True, timeout=_COPY_LIMIT)
