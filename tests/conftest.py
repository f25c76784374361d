"""The real parts that tests talk to: one control plane for the whole run, a fresh database for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from devcluster import Cluster
from projectsetup.projects.migrate import migrate

TEMPLATE = "template_migrated"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server and a real PostgreSQL."""
    cluster = Cluster(tmp_path_factory.mktemp("devcluster") / "cluster")
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


@pytest.fixture
def database_url(admin_database_url: str) -> Iterator[str]:
    """A database of its own for one test, migrated and empty."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(admin_database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        yield on_database(admin_database_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def on_database(url: str, name: str) -> str:
    """The same server, another database."""
    return f"{url.rpartition('/')[0]}/{name}"
