"""Setups requested in SQL: each committed request becomes one series, whatever dies in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import PREFIX, NewSandbox, Sandbox
from tests.support.setup_handle import Setup, Steps
from tests.support.tcp_proxy import TcpProxy, through


@pytest.fixture(scope="module")
def intake(new_sandbox: NewSandbox) -> Iterator[Sandbox]:
    with new_sandbox(concurrency="12") as sandbox:
        sandbox.operator.configure(intake_namespace=sandbox.api.namespace)
        sandbox.operator.start()
        yield sandbox


def call(sandbox: Sandbox, function: str, project: str, **values: object) -> Any:
    """What the function answers, in its own transaction."""
    named = "".join(f", {name} => %({name})s" for name in values)
    with psycopg.connect(sandbox.database_url) as sql:
        (answer,) = sql.execute(
            f"SELECT {function}(%(project)s{named})".encode(), {"project": project, **values}
        ).fetchone() or (None,)
    return answer


def handled(sandbox: Sandbox, *, limit: float = 30.0) -> list[dict[str, Any]]:
    """All requests once none is pending, oldest first."""
    found: list[dict[str, Any]] = []

    def none_pending() -> bool:
        with psycopg.connect(sandbox.database_url, row_factory=dict_row) as sql:
            found[:] = sql.execute("SELECT * FROM setup_requests ORDER BY number").fetchall()
        return all(row["handled_at"] for row in found)

    wait_for(none_pending, "all requests to be handled", limit=limit)
    return found


def names(sandbox: Sandbox) -> set[str]:
    return sandbox.api.select("status.phase!=nothing")


def setup_of(sandbox: Sandbox, project: str) -> Setup:
    wait_for(lambda: project in names(sandbox), f"ProjectSetup {project}")
    return Setup(sandbox, sandbox.api, project)


def request_of(sandbox: Sandbox, request: object) -> dict[str, Any]:
    return next(row for row in handled(sandbox) if row["id"] == request)


def test_a_request_becomes_a_setup(intake: Sandbox) -> None:
    project = intake.project(name="asked for in SQL")
    request = call(intake, "setup_project", project, recipe="instant", priority=0, max_attempts=5, backoff="1m")
    setup = setup_of(intake, project)
    why, status = setup.ended()
    assert (why, status["projectName"]) == ("SetupSucceeded", "asked for in SQL")
    annotations = setup.body["metadata"]["annotations"]
    assert annotations[PREFIX + "request-id"] == str(request)
    assert [annotations[PREFIX + name] for name in ("priority", "max-attempts", "backoff")] == ["0", "5", "1m"]
    assert request_of(intake, request)["error"] is None
    assert setup.record["namespace"] == intake.api.namespace


def test_a_request_for_a_failed_project_is_a_retry(intake: Sandbox) -> None:
    project = intake.project()
    call(intake, "setup_project", project, recipe="scripts", parameters='{"first": "[ -e /nowhere ]"}')
    setup = setup_of(intake, project)
    assert setup.ended()[0] == "StepFailed"
    request = call(intake, "setup_project", project)
    assert setup.ended_after_retry(str(request))[0] == "StepFailed"
    assert setup.events.count("RetryRequested") == 1
    assert request_of(intake, request)["error"] is None


def test_a_cancel_stops_the_setup(intake: Sandbox, steps: Steps) -> None:
    project = intake.project()
    call(intake, "setup_project", project, recipe="gated", parameters=f'{{"place": "{steps.folder}"}}')
    setup = setup_of(intake, project)
    steps.await_start(setup)
    assert call(intake, "cancel_setup", project) == "ok"
    assert setup.ended()[0] == "Cancelled"
    assert [row["error"] for row in handled(intake) if str(row["project_id"]) == project] == [None, None]


def test_a_cancel_in_the_same_transaction_starts_nothing(intake: Sandbox) -> None:
    project = intake.project()
    with psycopg.connect(intake.database_url) as sql:
        sql.execute("SELECT setup_project(%s)", (project,))
        sql.execute("SELECT cancel_setup(%s)", (project,))
    asked, cancelled = (row for row in handled(intake) if str(row["project_id"]) == project)
    assert (asked["error"], cancelled["error"]) == ("cancelled before it started", None)
    assert project not in names(intake)
    record = intake.record(project)
    assert (record["status"], record["setup_error"]["reason"]) == ("failed", "Cancelled")


def test_a_cancel_with_a_request_in_one_transaction_stops_the_setup_that_runs(intake: Sandbox, steps: Steps) -> None:
    setup = Setup.gated(intake, steps)
    steps.await_start(setup)
    with psycopg.connect(intake.database_url) as sql:
        sql.execute("SELECT setup_project(%s)", (setup.name,))
        sql.execute("SELECT cancel_setup(%s)", (setup.name,))
    assert setup.ended(limit=10)[0] == "Cancelled"  # and not when requests are looked for without a notification
    assert [row["error"] for row in handled(intake) if str(row["project_id"]) == setup.name] == [None, None]


def test_requests_wait_for_a_namespace_that_does_not_exist(new_sandbox: NewSandbox) -> None:
    missing = f"late-{uuid4().hex[:8]}"
    with new_sandbox() as sandbox:
        sandbox.operator.configure(intake_namespace=missing, namespaces=missing)
        sandbox.operator.start()
        project = sandbox.project()
        call(sandbox, "setup_project", project, recipe="instant")

        def complaint() -> str:
            lines = sandbox.operator.log.read_text().splitlines()
            return next((line for line in lines if "cannot handle setup requests" in line), "")

        wait_for(complaint, "a warning")
        assert f'namespaces \\"{missing}\\" not found' in complaint()
        assert "Traceback" not in sandbox.operator.log.read_text()
        assert "projectsetup_intake_pending 1.0" in sandbox.operator.get("/metrics")[1]
        sandbox.api.kubectl("create", "namespace", missing)
        assert [row["error"] for row in handled(sandbox)] == [None]
        wait_for(lambda: "projectsetup_intake_pending 0.0" in sandbox.operator.get("/metrics")[1], "no pending request")


def test_a_request_that_the_api_server_refuses_fails_the_project(intake: Sandbox) -> None:
    project = intake.project()
    request = call(intake, "setup_project", project, parameters=f'{{"{"p" * 5000}": "{"v" * 5000}"}}')
    refused = request_of(intake, request)
    assert "parameters" in refused["error"]
    record = intake.record(project)
    assert (record["status"], record["setup_error"]["reason"]) == ("failed", "InvalidSpec")
    assert record["setup_error"]["message"] == refused["error"]
    assert project not in names(intake)


def test_a_project_of_another_namespace_is_refused(intake: Sandbox) -> None:
    project = intake.project()
    with psycopg.connect(intake.database_url) as sql:
        sql.execute("UPDATE projects SET namespace = 'team-b' WHERE id = %s", (project,))
    refused = request_of(intake, call(intake, "setup_project", project))
    assert refused["error"].startswith(f"project {project} belongs to another namespace than {intake.api.namespace}")
    assert intake.record(project)["setup_error"]["reason"] == "ProjectClaimed"


def test_a_lost_connection_and_requests_before_the_start_are_noticed(new_sandbox: NewSandbox) -> None:
    with new_sandbox() as sandbox:
        sandbox.operator.configure(intake_namespace=sandbox.api.namespace)
        before = sandbox.project()
        call(sandbox, "setup_project", before, recipe="instant")
        sandbox.operator.start()
        assert setup_of(sandbox, before).ended()[0] == "SetupSucceeded"
        with psycopg.connect(sandbox.database_url, autocommit=True) as sql:
            sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        after = sandbox.project()
        call(sandbox, "setup_project", after, recipe="instant")
        assert setup_of(sandbox, after).ended()[0] == "SetupSucceeded"


def test_connections_that_a_firewall_drops_silently_do_not_hide_a_request(new_sandbox: NewSandbox) -> None:
    """The listener and the operator's other connections are dropped; a request is noticed within 35 s all the same."""
    with new_sandbox() as sandbox, TcpProxy(urlsplit(sandbox.database_url).port or 0) as proxy:
        sandbox.operator.configure(
            {"DATABASE_URL": through(sandbox.database_url, proxy)}, intake_namespace=sandbox.api.namespace
        )
        sandbox.operator.start()
        before, after = sandbox.project(), sandbox.project()
        call(sandbox, "setup_project", before, recipe="instant")
        assert setup_of(sandbox, before).ended()[0] == "SetupSucceeded"
        proxy.drop()
        request = call(sandbox, "setup_project", after, recipe="instant")
        assert [row["error"] for row in handled(sandbox, limit=35) if row["id"] == request] == [None]
        assert setup_of(sandbox, after).ended(limit=60)[0] == "SetupSucceeded"


def test_a_request_at_the_moment_of_a_failure_is_one_more_series(intake: Sandbox, tmp_path: Path) -> None:
    """Applications may react to the notification of a failure, which comes before `.status` reports it."""
    project, ran, again = intake.project(), tmp_path / "ran", 8
    script = json.dumps({"first": f"echo ran >> {ran}; false"})
    with psycopg.connect(intake.database_url, autocommit=True) as listener:
        listener.execute("LISTEN project_status")
        call(intake, "setup_project", project, recipe="scripts", parameters=script)
        requests: list[object] = []
        for notification in listener.notifies(timeout=60):
            change = json.loads(notification.payload)
            if (change["id"], change["status"]) == (project, "failed"):
                if len(requests) == again:
                    break
                requests.append(call(intake, "setup_project", project))
    why, _ = setup_of(intake, project).ended_after_retry(str(requests[-1]))
    assert why == "StepFailed"
    assert ran.read_text().split() == ["ran"] * (1 + again)
    assert [row["error"] for row in handled(intake) if str(row["project_id"]) == project] == [None] * (1 + again)
