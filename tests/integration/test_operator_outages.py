"""Outages of PostgreSQL and the API server: running attempts continue and report, and none starts unrecorded.

That nothing is lost, whatever is requested meanwhile, is the subject of tests/chaos/test_outages.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox
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


def test_output_during_an_outage_of_the_database_is_kept_but_for_its_middle(proxies: Proxies, steps: Steps) -> None:
    hold = 'until [ -e "$PARAM_PLACE/{}" ]; do sleep 0.05; done'
    flood = 'seq -f "line %06.0f" 1 200000; touch "$PARAM_PLACE/printed"'
    setup = Setup.make(
        proxies.sandbox,
        "scripts",
        first="; ".join(("echo begin", hold.format("go"), flood, hold.format("go2"))),
        second="echo end",
        place=str(steps.folder),
    )
    wait_for(lambda: log_of(setup).startswith("begin\n"), "the beginning of the log")
    proxies.database.close()
    steps.release()
    wait_for((steps.folder / "printed").exists, "the step, which does not wait for the database")
    proxies.database.open()
    (steps.folder / "go2").touch()
    assert setup.ended()[0] == "SetupSucceeded"
    log = log_of(setup)
    assert log.startswith("begin\nline 000001\n")
    assert log.endswith("line 200000\nend\n")
    with psycopg.connect(proxies.sandbox.database_url) as connection:
        row = connection.execute(
            "SELECT lines_left_out FROM setup_logs WHERE project_id = %s", (setup.name,)
        ).fetchone()
    assert row == (200_002 - log.count("\n"),)


def log_of(setup: Setup) -> str:
    query = "SELECT text FROM setup_log_rows JOIN setup_logs USING (run_name) WHERE project_id = %s ORDER BY number"
    with psycopg.connect(setup.sandbox.database_url) as connection:
        return "".join(text for (text,) in connection.execute(query, (setup.name,)).fetchall())


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
    setup.wait_for_events("Succeeded")


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
