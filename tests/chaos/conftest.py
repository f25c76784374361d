"""The control plane of the fault tests. Its parts are killed, so it syncs to disk before it acknowledges a write."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devcluster import Cluster
from tests.support.api_server import ApiServer
from tests.support.chaos.fault_run import IS_LONG, SEED, FaultRun, NewFaultRun
from tests.support.chaos.frozen_leader import FREEZES, FROZEN, Outcome
from tests.support.chaos.process_watcher import ProcessWatcher
from tests.support.databases import create_database


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server and a PostgreSQL that write to the disk before they answer."""
    cluster = Cluster(tmp_path_factory.mktemp("chaos") / "cluster", fsync=True)
    cluster.up()
    ApiServer.prepared(cluster.kubeconfig, "first")  # tests that run side by side find the CRD
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def control_plane_kubeconfig(control_plane: Cluster) -> Path:
    """The administrator's kubeconfig of that API server."""
    return control_plane.kubeconfig


@pytest.fixture(scope="session")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessWatcher]:
    """Watches the processes of all attempts."""
    with ProcessWatcher(tmp_path_factory.getbasetemp().resolve()) as watcher:
        yield watcher


@pytest.fixture(scope="session")
def new_fault_run(
    control_plane: Cluster, watcher: ProcessWatcher, tmp_path_factory: pytest.TempPathFactory
) -> NewFaultRun:
    """Creates a fault run; the arguments are settings of its operators."""

    def new_fault_run(**settings: Any) -> FaultRun:
        url = create_database(control_plane.database_url)
        return FaultRun(tmp_path_factory.mktemp("run"), control_plane, url, watcher, **settings)

    return new_fault_run


@pytest.fixture(scope="session")
def frozen_leaders(
    new_fault_run: NewFaultRun, control_plane_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Outcome]]]:
    """The outcome of each freeze. All run in parallel with other tests, because they mostly wait."""
    with ThreadPoolExecutor(len(FREEZES)) as pool:
        yield {
            freeze.name: pool.submit(
                freeze.run,
                new_fault_run,
                control_plane_kubeconfig,
                tmp_path_factory.mktemp("proxy"),
                seed=SEED,
                frozen=FROZEN if IS_LONG else 0.0,
            )
            for freeze in FREEZES
        }
