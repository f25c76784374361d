"""What the tests of the operator share: one running operator, and steps that wait for their test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from monitoring import MonitoringError, prometheus
from projectsetup.projects import ProjectRecord
from tests.support.api_server import ApiServer
from tests.support.operator_stage import Stage
from tests.support.setup_handle import Steps


@pytest.fixture(scope="session")
def elsewhere(kubeconfig: Path) -> ApiServer:
    """A second namespace that the operator of `stage` serves."""
    return ApiServer.prepared(kubeconfig, "elsewhere")


@pytest.fixture(scope="session")
def stage(new_stage: Callable[..., AbstractContextManager[Stage]], elsewhere: ApiServer) -> Iterator[Stage]:
    """One operator for all tests that need none of their own; it has more slots than one of them takes."""
    with new_stage(concurrency="12") as stage:
        stage.operator.configure(namespaces=f"{stage.api.namespace},{elsewhere.namespace}")
        stage.operator.start()
        yield stage


@pytest.fixture(scope="session")
def prometheus_programs() -> dict[str, Path]:
    """Prometheus and promtool; where they cannot be had, who needs them is skipped."""
    try:
        return prometheus.fetch()
    except (MonitoringError, OSError) as error:
        pytest.skip(str(error))


@pytest.fixture
async def record(database_url: str) -> AsyncIterator[ProjectRecord]:
    """The record of an empty database."""
    async with ProjectRecord.connect(database_url) as record:
        yield record


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[Steps]:
    """Steps that wait for the test, and no longer than the test takes."""
    steps = Steps(tmp_path / "steps")
    yield steps
    steps.let_go()
