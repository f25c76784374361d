"""The real command line with a real operator: they share only the API server and the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.api_server import ApiServer
from tests.support.command_line import CommandLine
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import Sandbox, reason
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


@pytest.fixture
def queue(sandbox: Sandbox) -> Iterator[tuple[str, str]]:
    """Option that names the namespace of the queue; the queue is reset afterwards."""
    yield "--operator-namespace", sandbox.api.namespace
    sandbox.api.kubectl("delete", "configmap", "projectsetup-queue", "--ignore-not-found")


def known(sandbox: Sandbox, project: str) -> Setup:
    return Setup(sandbox, sandbox.api, project)


def test_a_project_is_set_up_while_the_command_waits(cli: CommandLine, project: str, here: tuple[str, str]) -> None:
    done = cli("setup", project, "--recipe", "instant", "--priority", "0", *here, "--wait")
    assert (done.code, done.out.split(":")[0]) == (0, f"project {project} is ready")
    shown = cli.ok("projects", "get", project, "-o", "json").json
    assert (shown["status"], shown["setup_error"], shown["attempt"]) == ("ready", None, 1)
    status = cli.ok("status", project, *here, "-o", "json").json["status"]
    assert (status["phase"], status["attempt"]) == ("Succeeded", 1)
    assert cli.ok("status", project, *here, "--watch").out
    cli.refused(2, "setup", project, "--recipe", "instant", *here)


def test_a_setup_that_fails_ends_the_waiting_command_with_1(
    sandbox: Sandbox, cli: CommandLine, project: str, here: tuple[str, str], steps: Steps
) -> None:
    script = 'test -e "$PARAM_PLACE/go" || { echo no compiler here; exit 3; }'
    options = ("--recipe", "scripts", "--param", f"second={script}", "--param", f"place={steps.folder}", *here)
    done = cli("setup", project, *options, "--wait")
    assert (done.code, done.out) == (1, "")
    assert "no compiler here" in done.err.splitlines()[-1]
    assert cli.ok("projects", "get", project, "-o", "json").json["status"] == "failed"
    steps.release()
    assert cli("setup", project, *options, "--wait").code == 0
    status = known(sandbox, project).status
    assert [attempt["outcome"] for attempt in status["attempts"]] == ["Failed", "Succeeded"]


def test_a_setup_is_cancelled_and_retried(
    sandbox: Sandbox, cli: CommandLine, project: str, here: tuple[str, str], steps: Steps
) -> None:
    cli.ok("setup", project, "--recipe", "gated", "--param", f"place={steps.folder}", "--backoff", "1h", *here)
    setup = known(sandbox, project)
    steps.await_start(setup)
    assert "cancel requested: the running attempt is being stopped" in cli.ok("cancel", project, *here).out
    assert setup.ended()[0] == "Cancelled"
    steps.release()
    assert "a new series of attempts starts" in cli.ok("retry", project, *here).out
    setup.wait_for("the second end", lambda status: reason(status) == "SetupSucceeded")
    assert "retry ignored" in cli.ok("retry", project, *here).out
    setup.wait_for_events("Started", "Cancelled", "RetryRequested", "Started", "Succeeded", "RetryIgnored")


def test_both_refuse_a_project_that_another_namespace_sets_up(
    sandbox: Sandbox, cli: CommandLine, steps: Steps, other_namespace: ApiServer
) -> None:
    owner = Setup.gated(sandbox, steps)
    steps.await_start(owner)
    text = cli.refused(2, "setup", owner.name, "--recipe", "instant", "-n", other_namespace.namespace)
    assert f"project {owner.name} belongs to another namespace" in text
    assert "is being set up" in cli.refused(2, "projects", "delete", owner.name)
    assert owner.status["phase"] == "Running"


def test_the_queue_is_paused_resumed_and_scaled(
    sandbox: Sandbox, cli: CommandLine, queue: tuple[str, str], steps: Steps
) -> None:
    cli.ok("queue", "pause", *queue)
    wait_for(lambda: not starts(sandbox), "the operator to pause")
    setups = [Setup.gated(sandbox, steps) for _ in range(3)]
    for setup in setups:
        setup.reached_reason("Queued")
    cli.ok("queue", "scale", "2", *queue)
    shown = cli.ok("queue", "show", *queue, "-o", "json").json
    assert (shown["paused"], shown["concurrency"]) == (True, 2)
    assert steps.started == []
    cli.ok("queue", "resume", *queue)
    wait_for(lambda: len(steps.started) == 2, "two to start")
    assert sorted(setup.status["phase"] for setup in setups) == ["Queued", "Running", "Running"]
    cli.ok("queue", "scale", "3", *queue)
    steps.await_start(*setups)


def starts(sandbox: Sandbox) -> bool:
    """Whether a new setup starts; a setup that does not is suspended."""
    probe = Setup.make(sandbox)
    if probe.reached("Queued", "Succeeded")["phase"] == "Succeeded":
        return True
    probe.change(suspend=True)
    probe.reached("Suspended")
    return False
