"""Outages of PostgreSQL and the API server: nothing is lost, waiting consumes no attempt, running attempts continue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox, message
from tests.support.setup_handle import Setup, Steps
from tests.support.tcp_proxy import TcpProxy, proxied_api_server, through


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies between the operator and its database and API server."""

    sandbox: Sandbox
    database: TcpProxy
    api: TcpProxy


@pytest.fixture(scope="module")
def started(new_sandbox: NewSandbox, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    with new_sandbox(concurrency="1") as sandbox:
        folder = tmp_path_factory.mktemp("proxies")
        behind = urlsplit(sandbox.database_url).port or 0
        with TcpProxy(behind) as database, proxied_api_server(kubeconfig, folder) as (api, moved):
            environment = {"DATABASE_URL": through(sandbox.database_url, database), "KUBECONFIG": str(moved)}
            sandbox.operator.configure(environment)
            sandbox.operator.start()
            yield Proxies(sandbox, database, api)
            sandbox.operator.close()


@pytest.fixture
def proxies(started: Proxies) -> Proxies:
    """All proxies open, and the operator ready."""
    for proxy in (started.database, started.api):
        if not proxy.is_open:
            proxy.open()
    wait_for(started.sandbox.operator.is_ready, "the operator to be ready")
    return started


def workspace_is_gone(setup: Setup) -> None:
    place = setup.sandbox.operator.workspaces
    wait_for(lambda: not list(place.glob(f"*/{setup.name[:8]}-*")), "the attempt to end")


# --- PostgreSQL


def test_waiting_setups_continue_once_the_database_recovers(proxies: Proxies, steps: Steps) -> None:
    proxies.database.close()
    setup = Setup.gated(proxies.sandbox, steps)
    status = setup.reached_reason("DatabaseUnavailable")
    assert (status["phase"], status["attempt"], status["observedGeneration"]) == ("Queued", 0, 1)
    assert "waiting for the database: PostgreSQL at 127.0.0.1" in message(status)
    assert proxies.sandbox.operator.get("/readyz")[0] == 503
    assert proxies.sandbox.operator.get("/healthz")[0] == 200
    steps.release()
    proxies.database.open()
    why, status = setup.ended()
    assert (why, status["attempt"], setup.record["status"]) == ("SetupSucceeded", 1, "ready")
    assert steps.attempts == [1]
    setup.wait_for_events("Started", "Succeeded")


def test_a_running_attempt_continues_without_the_database_and_reports_afterwards(
    proxies: Proxies, steps: Steps
) -> None:
    hold = 'until [ -e "$PARAM_PLACE/{}" ]; do sleep 0.05; done'
    place = str(steps.folder)
    setup = Setup.make(proxies.sandbox, "scripts", first=hold.format("one"), second=hold.format("two"), place=place)
    setup.reached("Running")
    proxies.database.close()
    (steps.folder / "one").touch()
    status = setup.wait_for("at its second step", lambda status: status.get("step") == "second")
    assert (status["phase"], status["projectStatus"], status["progress"]) == ("Running", "compiling", "1/3")
    assert setup.record["status"] == "initializing"
    proxies.database.open()
    wait_for(lambda: setup.record["status"] == "compiling", "the record to catch up with the second step")
    proxies.database.close()
    (steps.folder / "two").touch()
    workspace_is_gone(setup)
    assert setup.status["phase"] == "Running"
    proxies.database.open()
    why, status = setup.ended()
    assert (why, status["attempt"], status["progress"]) == ("SetupSucceeded", 1, "3/3")
    assert (setup.record["status"], setup.record["attempt"]) == ("ready", 1)
    setup.wait_for_events("Started", "Succeeded")


def test_a_cancel_and_a_deletion_wait_for_the_database(proxies: Proxies, steps: Steps) -> None:
    running = Setup.gated(proxies.sandbox, steps)
    steps.await_start(running)
    queued, deleted = (Setup.gated(proxies.sandbox, steps) for _ in range(2))
    for setup in (queued, deleted):
        setup.reached_reason("Queued")
    proxies.database.close()
    running.annotate(cancel_requested_at="1")
    queued.annotate(cancel_requested_at="1")
    deleted.delete()
    workspace_is_gone(running)
    assert queued.reached_reason("DatabaseUnavailable").get("lastHandledCancel") is None
    proxies.database.open()
    for setup in (running, queued):
        assert setup.ended()[0] == "Cancelled"
        assert setup.record["setup_error"]["reason"] == "Cancelled"
    wait_for(lambda: deleted.record["owner_uid"] is None, "the project of the deleted one to be free")
    assert steps.started == [running.name]


# --- the API server


def test_changes_during_an_outage_of_the_api_server_are_found_afterwards(proxies: Proxies, steps: Steps) -> None:
    deleted = Setup.gated(proxies.sandbox, steps)
    steps.await_start(deleted)
    cancelled = Setup.gated(proxies.sandbox, steps)
    cancelled.reached_reason("Queued")
    proxies.api.close()
    deleted.delete()
    cancelled.annotate(cancel_requested_at="1")
    made = Setup.make(proxies.sandbox)
    proxies.api.open()
    assert made.ended()[0] == "SetupSucceeded"
    assert cancelled.ended()[0] == "Cancelled"
    wait_for(lambda: deleted.record["owner_uid"] is None, "the project of the deleted one to be free")
    assert steps.started == [deleted.name]


def test_an_attempt_that_cannot_be_recorded_is_not_started(proxies: Proxies, steps: Steps) -> None:
    proxies.database.close()
    setup = Setup.gated(proxies.sandbox, steps)
    setup.reached_reason("DatabaseUnavailable")
    proxies.api.close()
    proxies.database.open()
    wait_for(lambda: setup.record["status"] == "compiling", "the project to be claimed for the attempt")
    failure = f"write status of ProjectSetup {proxies.sandbox.api.namespace}/{setup.name}"
    wait_for(lambda: failure in proxies.sandbox.operator.log.read_text(), "the failure to record the attempt")
    assert steps.started == []
    steps.release()
    proxies.api.open()
    why, status = setup.ended()
    assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert steps.attempts == [1]


def test_a_running_attempt_continues_without_the_api_server_and_reports_before_others_start(
    proxies: Proxies, steps: Steps
) -> None:
    first = Setup.gated(proxies.sandbox, steps)
    steps.await_start(first)
    second = Setup.gated(proxies.sandbox, steps)
    second.reached_reason("Queued")
    proxies.api.close()
    steps.release()
    wait_for(lambda: first.record["status"] == "ready", "the record to hold the end of the first")
    assert first.status["phase"] == "Running"
    proxies.api.open()
    for setup in (first, second):
        why, status = setup.ended()
        assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert (steps.started, steps.attempts) == ([first.name, second.name], [1, 1])
