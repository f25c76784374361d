"""A project that the command line sets up; the test plays the operator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from projectsetup.projects import Owner, Project, ProjectRecord, ProjectStatus
from tests.support.api_server import ApiServer
from tests.support.command_line import CommandLine, CommandResult


class Records:
    """The record as the operator reads and changes it."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def get(self, project_id: str) -> Project:
        """The project, which must exist."""
        found = self._do(lambda record: record.get(UUID(project_id)))
        assert isinstance(found, Project)
        return found

    def claim(self, project_id: str, uid: str, namespace: str) -> Project:
        """Claim the project for the first attempt of a ProjectSetup."""
        owner = Owner(uid, namespace, project_id)
        claimed = self._do(
            lambda record: record.claim(UUID(project_id), owner, attempt=1, status=ProjectStatus.INITIALIZING)
        )
        assert isinstance(claimed, Project)
        return claimed

    def end(self, project: Project, state: str) -> None:
        """Record the end of the attempt that claimed the project."""
        error = {"reason": "StepFailed", "step": "test", "message": "2 failed"} if state == "failed" else None
        status = ProjectStatus(state)
        assert self._do(
            lambda record: record.finish(project.id, project.fence, status=status, setup_error=error, result={})
        )

    def delete(self, project_id: str) -> None:
        """Delete the project."""
        self._do(lambda record: record.delete(UUID(project_id)))

    def _do(self, work: Callable[[ProjectRecord], Awaitable[Any]]) -> Any:
        async def call() -> Any:
            async with ProjectRecord.connect(self._url) as record:
                return await work(record)

        return asyncio.run(call())


@dataclass(frozen=True, slots=True)
class CliProject:
    """One project, and everything that changes it."""

    cli: CommandLine
    api: ApiServer
    records: Records
    id: str

    @property
    def namespace(self) -> str:
        """The namespace of the ProjectSetup."""
        return self.api.namespace

    @property
    def title(self) -> str:
        """How the command line names the ProjectSetup."""
        return f"ProjectSetup {self.namespace}/{self.id}"

    @property
    def named(self) -> str:
        """How the command line names it beside its project."""
        return f"{self.title} (App)"

    def __call__(self, command: str, *arguments: object) -> CommandResult:
        """Call a command about the project, which must succeed."""
        return self.cli.ok(command, self.id, "-n", self.namespace, *arguments)

    def refused(self, code: int, command: str, *arguments: object) -> str:
        """Call a command about the project, which must fail; returns the error line."""
        return self.cli.refused(code, command, self.id, "-n", self.namespace, *arguments)

    def annotations(self) -> dict[str, str]:
        """The annotations of the ProjectSetup."""
        found: dict[str, str] = self.api.get(self.id)["metadata"].get("annotations", {})
        return found

    def report(self, status: dict[str, Any]) -> None:
        """The operator writes this status."""
        self.api.patch_status(self.id, status)

    def claim(self) -> Project:
        """The operator claims the project for the ProjectSetup."""
        return self.records.claim(self.id, self.api.get(self.id)["metadata"]["uid"], self.namespace)

    def end(self, status: dict[str, Any], state: str) -> None:
        """The operator has claimed the project and writes its end to record and status."""
        self.records.end(self.claim(), state)
        self.report(status)


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
def project(reaching_cli: CommandLine, cli_server: ApiServer, database_url: str) -> Iterator[CliProject]:
    """A new project; its ProjectSetup is deleted afterwards."""
    create = ("projects", "create", "--name", "App", "--code-repo", "https://git.example/app")
    created = reaching_cli.ok(*create).out.strip()
    yield CliProject(reaching_cli, cli_server, Records(database_url), created)
    cli_server.kubectl("delete", "projectsetup", created, "--ignore-not-found")
