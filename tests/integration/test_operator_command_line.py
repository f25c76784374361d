"""The real command line with a real operator: they share only the API server and the record."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.command_line import CommandLine
from tests.support.operator_sandbox import Sandbox
from tests.support.setup_handle import Setup, Steps


@pytest.fixture
def cli(
    sandbox: Sandbox, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("DATABASE_URL", sandbox.database_url)
    return CommandLine(capsys)


@pytest.fixture
def project(cli: CommandLine) -> str:
    """A project that the command line created."""
    name = f"Shop {uuid4()}"
    return cli.ok("projects", "create", "--name", name, "--code-repo", f"https://git.example/{uuid4()}.git").out.strip()


@pytest.fixture
def here(sandbox: Sandbox) -> tuple[str, str]:
    """Option that names the namespace of the operator's setups."""
    return "-n", sandbox.api.namespace


def test_a_project_is_set_up_while_the_command_waits(cli: CommandLine, project: str, here: tuple[str, str]) -> None:
    done = cli("setup", project, "--recipe", "instant", "--priority", "0", *here, "--wait")
    assert done.code == 0
    assert f" ({project}) is ready: " in done.out
    shown = cli.ok("projects", "get", project, "-o", "json").json
    assert (shown["status"], shown["setup_error"], shown["attempt"]) == ("ready", None, 1)
    status = cli.ok("status", project, *here, "-o", "json").json["status"]
    assert (status["phase"], status["attempt"]) == ("Succeeded", 1)
    assert cli.ok("status", project, *here, "--watch").out
    cli.refused(2, "setup", project, "--recipe", "instant", *here)


def test_a_setup_is_cancelled_and_retried(
    sandbox: Sandbox, cli: CommandLine, project: str, here: tuple[str, str], steps: Steps
) -> None:
    cli.ok("setup", project, "--recipe", "gated", "--param", f"place={steps.folder}", "--backoff", "1h", *here)
    setup = Setup(sandbox, sandbox.api, project)
    steps.await_start(setup)
    assert "cancel requested: the running attempt is being stopped" in cli.ok("cancel", project, *here).out
    assert setup.ended()[0] == "Cancelled"
    steps.release()
    assert "a new series of attempts starts" in cli.ok("retry", project, *here).out
    setup.reached_reason("SetupSucceeded")
    assert "retry ignored" in cli.ok("retry", project, *here).out
    setup.wait_for_events("Cancelled", "RetryRequested", "Succeeded", "RetryIgnored")
