"""A pytest plugin: fixtures of tests that set up a project with the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer
from tests.support.cli_scene import Scene
from tests.support.command_line import CommandLine


@pytest.fixture(scope="session")
def cli_server(kubeconfig: Path) -> ApiServer:
    """A namespace for the ProjectSetups of the command line."""
    return ApiServer.prepared(kubeconfig, "cli")


@pytest.fixture
def reaching_cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kubeconfig: Path, database_url: str
) -> CommandLine:
    """The command line in an environment that names cluster and database."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("DATABASE_URL", database_url)
    return CommandLine(capsys)


@pytest.fixture
def scene(reaching_cli: CommandLine, cli_server: ApiServer, database_url: str) -> Iterator[Scene]:
    """A new project."""
    with Scene.played(reaching_cli, cli_server, database_url) as scene:
        yield scene
