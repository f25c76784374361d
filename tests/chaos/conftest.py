"""A control plane of their own for the fault tests: its parts are killed, so it keeps what it has acknowledged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final
from uuid import uuid4

import psycopg
import pytest

from devcluster import Cluster
from projectsetup.projects.migrate import migrate
from tests.chaos.arena import Arena

SEED: Final = 20_261_124
_told: list[str] = []

NewArena = Callable[..., Arena]


@pytest.fixture(scope="session")
def long_form() -> bool:
    """Whether everything is asked for: `make chaos`."""
    return os.environ.get("CHAOS") == "long"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server and a PostgreSQL that write to the disk before they answer."""
    cluster = Cluster(tmp_path_factory.mktemp("chaos") / "cluster", fsync=True)
    cluster.up()
    yield cluster
    cluster.down()


@pytest.fixture
def new_arena(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> NewArena:
    """Makes an arena; `settings` are those of its operators."""

    def new_arena(**settings: str) -> Arena:
        name = f"chaos_{uuid4().hex[:12]}"
        with psycopg.connect(control_plane.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = f"{control_plane.database_url.rpartition('/')[0]}/{name}"
        migrate(url)
        return Arena(tmp_path_factory.mktemp("arena"), control_plane, url, **settings)

    return new_arena


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Print figures when all tests are over, and at once to who listens."""

    def tell(figures: object) -> None:
        line = f"{request.node.name}: {figures}"
        print(line)
        _told.append(line)

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of the fault tests."""
    if _told:
        terminalreporter.section(f"fault tests, seed {SEED}")
        for line in _told:
            terminalreporter.write_line(line)
