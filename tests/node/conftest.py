"""A cluster on which pods run, for the whole run of the tests; without root on Linux its tests are skipped by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devcluster import Cluster
from devcluster.node.machine import node_obstacle
from tests.figures import pytest_terminal_summary, tell

__all__ = ["pytest_terminal_summary", "tell"]


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server, a real PostgreSQL and a real node."""
    if obstacle := node_obstacle():
        pytest.skip(obstacle)
    cluster = Cluster(tmp_path_factory.mktemp("node") / "cluster", node=True)
    cluster.up()
    yield cluster
    cluster.down()
