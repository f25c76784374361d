"""A control plane for the fault tests alone: its parts are killed, so it keeps what it acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from devcluster import Cluster
from projectsetup.projects.migrate import migrate
from tests.support.api_server import ApiServer
from tests.support.chaos.fault_run import FaultRun, NewFaultRun
from tests.support.chaos.freezes import FREEZES, FROZEN, Outcome
from tests.support.chaos.options import IS_LONG, SEED
from tests.support.chaos.watcher import Watcher


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server and a PostgreSQL that write to the disk before they answer."""
    cluster = Cluster(tmp_path_factory.mktemp("chaos") / "cluster", fsync=True)
    cluster.up()
    ApiServer.prepared(cluster.kubeconfig, "first")  # tests that run side by side find the CRD
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def kubeconfig_of_plane(control_plane: Cluster) -> Path:
    """The administrator's kubeconfig of that API server."""
    return control_plane.kubeconfig


@pytest.fixture(scope="session")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    """Watches the processes of all attempts."""
    with Watcher(tmp_path_factory.getbasetemp().resolve()) as watcher:
        yield watcher


@pytest.fixture(scope="session")
def template(control_plane: Cluster) -> str:
    """The name of a database with all tables, to copy."""
    name = "chaos_template"
    with psycopg.connect(control_plane.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    migrate(f"{control_plane.database_url.rpartition('/')[0]}/{name}")
    return name


@pytest.fixture(scope="session")
def new_fault_run(
    control_plane: Cluster, template: str, watcher: Watcher, tmp_path_factory: pytest.TempPathFactory
) -> NewFaultRun:
    """Makes a fault run; the arguments are those of FaultRun."""

    def new_fault_run(**settings: Any) -> FaultRun:
        name = f"chaos_{uuid4().hex[:12]}"
        with psycopg.connect(control_plane.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = f"{control_plane.database_url.rpartition('/')[0]}/{name}"
        return FaultRun(tmp_path_factory.mktemp("fault_run"), control_plane, url, watcher, **settings)

    return new_fault_run


@pytest.fixture(scope="session")
def frozen_leaders(
    new_fault_run: NewFaultRun, kubeconfig_of_plane: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Outcome]]]:
    """The outcomes of leaders that freeze, all at once and beside other tests: they mostly wait."""
    with ThreadPoolExecutor(len(FREEZES)) as pool:
        yield {
            freeze.name: pool.submit(
                freeze.run,
                new_fault_run,
                kubeconfig_of_plane,
                tmp_path_factory.mktemp("proxy"),
                seed=SEED,
                frozen=FROZEN if IS_LONG else 0.0,
            )
            for freeze in FREEZES
        }
