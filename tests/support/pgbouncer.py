"""A real PgBouncer from Debian's package in front of a PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import psycopg

from devcluster.ports import free_port
from devcluster.postgres import NOBODY, as_ordinary_user
from tests.support.debian_program import DebianProgram
from tests.support.operator_process import wait_for

PGBOUNCER: Final = DebianProgram("pgbouncer", "usr/sbin/pgbouncer", "lib(c-?ares|event).*")
_END_LIMIT: Final = 10.0


class Pooler:
    """A pool of `size` server connections per user and database in `mode`; sessions are not reset between clients.

    With `tls`, a folder with certificate.pem and key.pem, clients must use TLS.
    """

    def __init__(self, folder: Path, database_url: str, *, mode: str, size: int = 1, tls: Path | None = None) -> None:
        self._behind = urlsplit(database_url)
        self._folder = folder
        self._port = free_port()
        self._log = folder / "pgbouncer.log"
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(folder / "users.txt"),
            "pool_mode": mode,
            "default_pool_size": str(size),
            "server_reset_query": "",
            "admin_users": str(self._behind.username),
        }
        if tls is not None:
            settings |= {"client_tls_sslmode": "require", "client_tls_key_file": str(tls / "key.pem")}
            settings |= {"client_tls_cert_file": str(tls / "certificate.pem")}
        lines = [f"{name} = {value}" for name, value in settings.items()]
        servers = f"* = host=127.0.0.1 port={self._behind.port}"
        (folder / "pgbouncer.ini").write_text("\n".join(["[databases]", servers, "[pgbouncer]", *lines, ""]))
        (folder / "users.txt").write_text(f'"{self._behind.username}" "{self._behind.password}"\n')

    @property
    def url(self) -> str:
        """The database, through the pooler."""
        login = self._behind.netloc.rpartition("@")[0]
        return self._behind._replace(netloc=f"{login}@127.0.0.1:{self._port}").geturl()

    def __enter__(self) -> Self:
        program = PGBOUNCER.fetch()
        if os.geteuid() == 0:
            for file in (self._folder, *self._folder.iterdir()):
                shutil.chown(file, NOBODY)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                as_ordinary_user([str(program), str(self._folder / "pgbouncer.ini")]),
                env={**os.environ, **PGBOUNCER.environment()},
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "PgBouncer to answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(_END_LIMIT)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            psycopg.connect(f"{self.url.rpartition('/')[0]}/pgbouncer", autocommit=True, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            return "SSL required" in str(error)
        return True
