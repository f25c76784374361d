"""The real parts that tests talk to: one control plane for the whole run, a fresh database for each test."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from devcluster import Cluster
from devcluster.node.prerequisites import node_obstacle
from projectsetup.projects.migrate import migrate
from tests.support.operator_stage import Stage

TEMPLATE = "template_migrated"

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # how fast a machine is decides no test


def pytest_configure() -> None:
    """A run in the background of a shell ignores SIGINT, and so would the programs that its tests interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server and a real PostgreSQL."""
    cluster = Cluster(tmp_path_factory.mktemp("devcluster") / "cluster")
    cluster.up()
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server, a real PostgreSQL and a real node; without root on Linux its tests are skipped by name."""
    if obstacle := node_obstacle():
        pytest.skip(obstacle)
    cluster = Cluster(tmp_path_factory.mktemp("node") / "cluster", node=True)
    cluster.up()
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def kubeconfig(cluster: Cluster) -> Path:
    """The administrator's kubeconfig."""
    return cluster.kubeconfig


@pytest.fixture(scope="session")
def admin_database_url(cluster: Cluster) -> str:
    """A superuser's URL of the PostgreSQL; it holds the migrated template that `database_url` copies."""
    url = cluster.database_url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(on_database(url, TEMPLATE))
    return url


@pytest.fixture(scope="session")
def new_database(admin_database_url: str) -> Callable[[], AbstractContextManager[str]]:
    """Gives a database of its own, migrated and empty, to whom one for a single test is not enough."""

    @contextmanager
    def new_database() -> Iterator[str]:
        name = f"test_{uuid4().hex[:12]}"
        with psycopg.connect(admin_database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
            yield on_database(admin_database_url, name)
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    return new_database


@pytest.fixture
def database_url(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A database of its own for one test, migrated and empty."""
    with new_database() as url:
        yield url


@pytest.fixture(scope="session")
def new_stage(
    kubeconfig: Path,
    new_database: Callable[[], AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., AbstractContextManager[Stage]]:
    """Sets a stage for an operator, which is ended with it; arguments are those of Stage."""

    @contextmanager
    def new_stage(*, environment: Mapping[str, str] | None = None, **settings: str) -> Iterator[Stage]:
        folder = tmp_path_factory.mktemp("stage")
        with new_database() as url:
            stage = Stage(folder, kubeconfig=kubeconfig, database_url=url, environment=environment, **settings)
            yield stage
            stage.operator.close()

    return new_stage


def on_database(url: str, name: str) -> str:
    """The same server, another database."""
    return f"{url.rpartition('/')[0]}/{name}"
