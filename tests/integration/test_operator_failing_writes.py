"""The operator waits quietly for a database that refuses writes; waiting setups start soon after it recovers."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from benchmarks.machine import cpu_seconds
from devcluster.postgres import NOBODY
from projectsetup.projects.migrate import migrate
from tests.support.databases import on_database
from tests.support.hot_standby import Pair
from tests.support.mounts import mounted, needs_mounts
from tests.support.operator_sandbox import Sandbox, message, reason
from tests.support.setup_handle import Setup
from tests.support.tcp_proxy import TcpProxy, through

WATCHED: Final = 8.0
"""Seconds for which the waiting operator is observed."""
SOON: Final = 10.0
"""Seconds from the recovery of the database to the end of a setup that does nothing."""
DOWN, UP = "database unavailable; waiting for it", "database available again"
TABLESPACE_MIB: Final = 48
WIDE: Final = 700
"""Hexadecimal digits of a random description: a page cannot hold a second version."""


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


@contextmanager
def sandbox_on(database_url: str, kubeconfig: Path, folder: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(folder, kubeconfig=kubeconfig, database_url=database_url)
    yield sandbox
    sandbox.operator.close()


def lines(sandbox: Sandbox, text: str = "") -> int:
    return sum(text in line for line in sandbox.operator.log.read_text().splitlines())


def failed_queries(sandbox: Sandbox) -> float:
    """The number of failed queries so far."""
    found = [line for line in sandbox.operator.get("/metrics")[1].splitlines() if "database_errors_total{" in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def check_quiet_wait(setup: Setup, says: str, recover: Callable[[], object]) -> None:
    """The operator waits quietly with `setup`, and starts it soon after `recover` makes writes possible."""
    sandbox, status = setup.sandbox, setup.reached("Queued")
    assert (reason(status), status["attempt"]) == ("DatabaseUnavailable", 0)
    assert says in message(status)
    began, cpu = time.monotonic(), cpu_seconds(sandbox.operator.pid)
    written, queries = lines(sandbox), failed_queries(sandbox)
    while (watched := time.monotonic() - began) < WATCHED:
        assert sandbox.operator.get("/readyz")[0] == 503
        time.sleep(0.5)
    used = cpu_seconds(sandbox.operator.pid) - cpu
    written, queries = lines(sandbox) - written, failed_queries(sandbox) - queries
    print(f"{written} lines, {used / watched:.1%} of a CPU, {queries:.0f} failed queries in {watched:.0f} s")
    assert written == 0
    assert watched / 4 <= queries <= watched + 1
    assert used < watched / 4
    recovered = time.monotonic()
    recover()
    assert setup.ended()[0] == "SetupSucceeded"
    print(f"ended {time.monotonic() - recovered:.1f} s after the recovery")
    assert time.monotonic() - recovered < SOON
    assert setup.record["status"] == "ready"
    assert (lines(sandbox, DOWN), lines(sandbox, UP)) == (1, 1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(tmp_path_factory.mktemp("pair")) as pair:
        migrate(pair.primary.url)
        yield pair


def test_a_hot_standby(pair: Pair, kubeconfig: Path, tmp_path: Path) -> None:
    with TcpProxy(port_of(pair.standby.url)) as proxy, sandbox_on(pair.primary.url, kubeconfig, tmp_path) as sandbox:
        sandbox.operator.configure({"DATABASE_URL": through(pair.primary.url, proxy)})
        projects = [sandbox.project() for _ in range(3)]
        pair.follow()
        sandbox.operator.start(ready=False)
        setups = [Setup.make(sandbox, project=project) for project in projects]
        for setup in setups:
            setup.reached("Queued")
        check_quiet_wait(setups[0], "is read-only now", lambda: proxy.redirect(port_of(pair.primary.url)))
        for setup in setups:
            assert setup.ended()[0] == "SetupSucceeded"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A tmpfs of a few MiB that the server may write to."""
    with TemporaryDirectory() as place, mounted(Path(place), f"size={TABLESPACE_MIB}m") as disk:
        shutil.chown(disk, NOBODY)
        yield disk


@pytest.fixture
def database_on_small_disk(admin_database_url: str, small_disk: Path) -> Iterator[str]:
    name = f"full_{secrets.token_hex(4)}"
    with closing(psycopg.connect(admin_database_url, autocommit=True)) as sql:
        sql.execute(f"CREATE TABLESPACE {name} LOCATION '{small_disk}'")
        sql.execute(f"CREATE DATABASE {name} TEMPLATE template0 TABLESPACE {name}")
        yield on_database(admin_database_url, name)
        sql.execute(f"DROP DATABASE {name} WITH (FORCE)")
        sql.execute(f"DROP TABLESPACE {name}")


@needs_mounts
def test_a_full_disk(database_on_small_disk: str, small_disk: Path, kubeconfig: Path, tmp_path: Path) -> None:
    migrate(database_on_small_disk)
    filler = small_disk / "filler"
    with sandbox_on(database_on_small_disk, kubeconfig, tmp_path / "sandbox") as sandbox:
        project, *_ = [wide_project(database_on_small_disk) for _ in range(100)]
        sandbox.operator.start()
        with filler.open("wb") as file:
            fill(file.fileno())
        with suppress(psycopg.errors.DiskFull):  # what room there is on the last page
            while True:
                wide_project(database_on_small_disk)
        check_quiet_wait(Setup.make(sandbox, project=project), "No space left on device", filler.unlink)


def wide_project(database_url: str) -> str:
    """A project of which few fit on a page; its id."""
    project, description = str(uuid4()), secrets.token_hex(WIDE)
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute(
            "INSERT INTO projects (id, name, code_repo, description) VALUES (%s, %s, %s, %s)",
            (project, project, f"file:///{project}", description),
        )
    return project


def fill(descriptor: int) -> None:
    """Write until the file system is full."""
    for size in (1 << 20, 1 << 12):
        try:
            while True:
                os.write(descriptor, bytes(size))
        except OSError:
            continue


def test_a_failover_to_the_other_host(kubeconfig: Path, tmp_path: Path) -> None:
    with Pair(tmp_path / "pair") as pair:
        migrate(pair.primary.url)
        login = urlsplit(pair.primary.url).netloc.rpartition("@")[0]
        hosts = ",".join(f"127.0.0.1:{port_of(server.url)}" for server in (pair.standby, pair.primary))
        url = urlsplit(pair.primary.url)._replace(netloc=f"{login}@{hosts}").geturl()
        with sandbox_on(pair.standby.url, kubeconfig, tmp_path / "sandbox") as sandbox:
            sandbox.operator.configure({"DATABASE_URL": url})
            sandbox.operator.start()
            assert lines(sandbox, DOWN) == 0
            with psycopg.connect(pair.primary.url) as sql:
                project = "00000000-0000-4000-8000-000000000001"
                sql.execute("INSERT INTO projects (id, name, code_repo) VALUES (%s, 'p', 'file:///nowhere')", [project])
            pair.follow()
            pair.primary.kill()
            setup = Setup.make(sandbox, project=project)
            status = setup.reached("Queued")
            assert reason(status) == "DatabaseUnavailable"
            pair.promote()
            promoted = time.monotonic()
            assert setup.ended()[0] == "SetupSucceeded"
            assert time.monotonic() - promoted < SOON
