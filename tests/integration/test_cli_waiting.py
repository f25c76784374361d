"""`setup --wait` and `status --watch`: following a real API server through changes and outages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from projectsetup.api.constants import RETRY_REQUESTED_AT
from projectsetup.api.reasons import Reason
from tests.support.cli_fixtures import CliProject
from tests.support.command_line import Running, one_error
from tests.support.setup_bodies import RUN, status
from tests.support.tcp_proxy import TcpProxy, proxied_api_server

pytest_plugins = ["tests.support.cli_fixtures"]

QUEUED = status(Reason.QUEUED, "first in line")
RUNNING = status(
    Reason.RUNNING, "step test", run_ref=RUN, attempt=1, max_attempts=3, project_status="testing", step="test",
    progress="4/7",
)  # fmt: skip
FAILED = status(Reason.STEP_FAILED, "2 [red] failed", attempt=1, max_attempts=3)
SUCCEEDED = status(Reason.SETUP_SUCCEEDED, "set up", attempt=1)
PROGRESS = "Running, testing, test, 4/7, attempt 1/3"


def called(project: CliProject, folder: Path, command: str, *arguments: str) -> Running:
    """A command about the project in its own process."""
    return Running(folder, command, project.id, "-n", project.namespace, *arguments)


def test_waiting_prints_each_change_until_success(project: CliProject, tmp_path: Path) -> None:
    with called(project, tmp_path, "setup", "--wait") as running:
        running.await_text("waiting for the operator")
        project.report(QUEUED)
        running.await_text("Queued: first in line")
        project.report(RUNNING)
        running.await_text(PROGRESS)
        project.report(SUCCEEDED)
        done = running.done()
    assert (done.code, done.out) == (0, f"project App ({project.id}) is ready: set up\n")
    assert done.err.splitlines() == [
        f"{project.named} created; project queued",
        "waiting for the operator",
        "Queued: first in line",
        PROGRESS,
    ]


def test_waiting_for_a_failure_exits_with_1(project: CliProject, tmp_path: Path) -> None:
    with called(project, tmp_path, "setup", "--wait") as running:
        running.await_text("waiting for the operator")
        project.report(FAILED)
        done = running.done()
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1] == (
        f"error: setup of project App ({project.id}) failed: StepFailed: 2 [red] failed"
    )


def test_the_end_of_an_earlier_series_is_not_the_end(project: CliProject, tmp_path: Path) -> None:
    project("setup")
    project.end(FAILED, "failed")
    with called(project, tmp_path, "setup", "--wait") as running:
        running.await_text("Failed, retry requested, waiting for the operator")
        asked = project.annotations()[RETRY_REQUESTED_AT]
        project.report({**QUEUED, "lastHandledRetry": asked})
        running.await_text("Queued: first in line")
        project.report({**SUCCEEDED, "lastHandledRetry": asked})
        assert running.done().code == 0


def test_waiting_ends_when_the_resource_is_deleted(project: CliProject, tmp_path: Path) -> None:
    with called(project, tmp_path, "setup", "--wait") as running:
        running.await_text("waiting for the operator")
        project.api.delete(project.id)
        done = running.done()
    assert done.code == 1
    assert done.err.splitlines()[-1] == f"error: {project.title} was deleted before the setup ended"


def test_waiting_times_out(project: CliProject) -> None:
    done = project.cli("setup", project.id, "-n", project.namespace, "--wait", "--timeout", "100ms")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1] == "error: timed out after 100ms; the setup is still running"


def test_waiting_can_be_interrupted(project: CliProject, tmp_path: Path) -> None:
    with called(project, tmp_path, "setup", "--wait") as running:
        running.await_text("waiting for the operator")
        running.interrupt()
        done = running.done()
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines()[-1] == (
        "stopped waiting; the setup is still running; run `projectsetup cancel` to stop it"
    )


@pytest.fixture
def proxy(kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpProxy]:
    """A proxy to the API server that the test can close."""
    with proxied_api_server(kubeconfig, tmp_path) as (proxy, moved):
        monkeypatch.setenv("KUBECONFIG", str(moved))
        yield proxy


def test_waiting_survives_an_outage_of_the_api_server(project: CliProject, proxy: TcpProxy, tmp_path: Path) -> None:
    project("setup")
    project.claim()
    project.report(RUNNING)
    with called(project, tmp_path, "setup", "--wait") as running:
        running.await_text(PROGRESS)
        proxy.close()
        running.await_text("waiting for the API server")
        project.report(SUCCEEDED)
        proxy.open()
        done = running.done()
    assert done.code == 0
    assert done.err.count("waiting for the API server") == 1


def test_watching_one_exits_with_its_detail_when_it_ends(project: CliProject, tmp_path: Path) -> None:
    project("setup")
    with called(project, tmp_path, "status", "--watch") as running:
        running.await_text("waiting for the operator")
        project.report(RUNNING)
        running.await_text(PROGRESS)
        project.report(FAILED)
        done = running.done()
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:3] == ["waiting for the operator", PROGRESS, f"ID         {project.id}"]
    assert "Phase      Failed" in lines


def test_watching_one_that_is_deleted_exits_with_1(project: CliProject, tmp_path: Path) -> None:
    project("setup")
    with called(project, tmp_path, "status", "--watch") as running:
        running.await_text("waiting for the operator")
        project.api.delete(project.id)
        done = running.done()
    assert (done.code, one_error(done.err)) == (1, f"{project.title} was deleted")


def test_watching_all_prints_changes_until_interrupted(project: CliProject, tmp_path: Path) -> None:
    project("setup")
    with Running(tmp_path, "status", "--watch", "-n", project.namespace) as running:
        running.await_text(project.id)
        project.report(RUNNING)
        running.await_text("4/7")
        other = project.api.create()["metadata"]["name"]
        running.await_text(other)
        project.api.delete(other)
        running.interrupt()
        done = running.done()
    assert (done.code, done.err) == (130, "")
    assert [line.split()[0] for line in done.out.splitlines()] == ["ID", project.id, project.id, other]


def test_watching_as_yaml_is_a_document_for_each_change(project: CliProject, tmp_path: Path) -> None:
    project("setup")
    with called(project, tmp_path, "status", "--watch", "-o", "yaml") as running:
        running.await_text(project.id)
        project.report(RUNNING)
        running.await_text("4/7")
        project.report(FAILED)
        done = running.done()
    documents = list(yaml.safe_load_all(done.out))
    assert [document.get("status", {}).get("phase") for document in documents] == [None, "Running", "Failed"]


@pytest.mark.parametrize("command", [["setup", "--wait"], ["status", "--watch"]])
def test_on_a_terminal_it_is_redrawn_until_it_ends(project: CliProject, tmp_path: Path, command: list[str]) -> None:
    project("setup")
    project.claim()
    project.report(RUNNING)
    with Running(tmp_path, command[0], project.id, "-n", project.namespace, command[1], terminal=True) as running:
        running.await_text("4/7")
        project.report(SUCCEEDED)
        done = running.done()
    assert done.code == 0
    assert "set up" in done.out
    assert "Traceback" not in done.out
