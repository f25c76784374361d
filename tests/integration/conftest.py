"""Fixtures of the operator's tests: one running operator, and gated steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from monitoring import MonitoringError, prometheus
from projectsetup.projects import ProjectRecord
from tests.support.api_server import ApiServer
from tests.support.operator_sandbox import NewSandbox, Sandbox


@pytest.fixture(scope="session")
def other_namespace(kubeconfig: Path) -> ApiServer:
    """A second namespace that the operator of `sandbox` serves."""
    return ApiServer.prepared(kubeconfig, "elsewhere")


@pytest.fixture(scope="session")
def sandbox(new_sandbox: NewSandbox, other_namespace: ApiServer) -> Iterator[Sandbox]:
    """The operator that most tests share; it has more slots than one test takes."""
    with new_sandbox(concurrency="12") as sandbox:
        sandbox.operator.configure(namespaces=f"{sandbox.api.namespace},{other_namespace.namespace}")
        sandbox.operator.start()
        yield sandbox


@pytest.fixture(scope="session")
def prometheus_programs() -> dict[str, Path]:
    """Prometheus and promtool; tests that need them are skipped if they cannot be fetched."""
    try:
        return prometheus.fetch()
    except (MonitoringError, OSError) as error:
        pytest.skip(str(error))


@pytest.fixture
async def record(database_url: str) -> AsyncIterator[ProjectRecord]:
    """The record of an empty database."""
    async with ProjectRecord.connect(database_url) as record:
        yield record
