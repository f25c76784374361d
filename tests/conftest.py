"""Fixtures with real components: one control plane for each worker, a fresh database for each test."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from devcluster import Cluster
from devcluster.node.prerequisites import node_obstacle
from tests.support import databases, hypothesis_profiles
from tests.support.databases import NewDatabase
from tests.support.figures import print_figures, report_figures
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.setup_handle import Steps

__all__ = ["hypothesis_profiles", "report_figures"]

IMAGES_ON_A_NODE = tuple(
    f"tests/{module}.py"
    for module in (
        "node/test_installed",
        "node/test_argocd_root",
        "node/test_helm",
        "security/test_forged_jobs",
        "security/test_push_credentials",
    )
)
ONE_WORKER = {"a node with the images": IMAGES_ON_A_NODE, "a node": ("tests/node/",), "fault tests": ("tests/chaos/",)}
"""Modules that share an expensive control plane; the first match applies."""


def pytest_configure() -> None:
    """A background run ignores SIGINT, and the programs that its tests interrupt would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the tests after the run."""
    print_figures(terminalreporter)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Tests of one module, or of several that share a control plane, run in one worker."""
    return ByControlPlane(config, log)


class ByControlPlane(LoadScopeScheduling):
    """Distributes whole modules, and keeps those of ONE_WORKER together."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return next((name for name, paths in ONE_WORKER.items() if module.startswith(paths)), module)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server and a real PostgreSQL."""
    cluster = Cluster(tmp_path_factory.mktemp("devcluster") / "cluster")
    cluster.up()
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server, PostgreSQL and node; tests are skipped, with the reason, where there can be no node."""
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
    """A superuser's URL of the PostgreSQL."""
    return cluster.database_url


@pytest.fixture(scope="session")
def new_database(admin_database_url: str) -> NewDatabase:
    """Creates migrated, empty databases for tests that need several."""
    return partial(databases.new_database, admin_database_url)


@pytest.fixture
def database_url(new_database: NewDatabase) -> Iterator[str]:
    """A migrated, empty database for one test."""
    with new_database() as url:
        yield url


@pytest.fixture(scope="session")
def new_sandbox(
    kubeconfig: Path,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> NewSandbox:
    """Creates a sandbox and stops its operator afterwards; the arguments are those of Sandbox."""

    @contextmanager
    def new_sandbox(*, environment: Mapping[str, str] | None = None, **settings: str) -> Iterator[Sandbox]:
        folder = tmp_path_factory.mktemp("sandbox")
        with new_database() as url:
            sandbox = Sandbox(folder, kubeconfig=kubeconfig, database_url=url, environment=environment, **settings)
            yield sandbox
            sandbox.operator.close()

    return new_sandbox


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[Steps]:
    """Gated steps, released at the end of the test."""
    steps = Steps(tmp_path / "steps")
    yield steps
    steps.release()
