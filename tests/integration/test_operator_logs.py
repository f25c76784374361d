"""Logs and history in the database, from attempts that a real operator runs."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NO_BACKOFF, NewSandbox, Sandbox
from tests.support.setup_handle import Setup
from tests.support.stored_log import stored_log


def rows(sandbox: Sandbox, sql: str, *values: object) -> list[dict[str, Any]]:
    with psycopg.connect(sandbox.database_url, row_factory=dict_row) as connection:
        return connection.execute(sql, values).fetchall()


def attempts(sandbox: Sandbox, project_id: str) -> list[dict[str, Any]]:
    return rows(sandbox, "SELECT * FROM setup_attempts WHERE project_id = %s ORDER BY id", project_id)


def test_each_attempt_has_a_log_and_an_entry_in_the_history(sandbox: Sandbox) -> None:
    setup = Setup.make(
        sandbox,
        "scripts",
        first="echo hello; echo again >&2",
        second="echo trying; exit 42",
        annotations={**NO_BACKOFF, "max_attempts": "2"},
    )
    setup.ended()
    assert stored_log(sandbox.database_url, setup.name) == [("first", "hello\nagain\n"), ("second", "trying\n")]
    assert len(rows(sandbox, "SELECT run_name FROM setup_logs WHERE project_id = %s", setup.name)) == 2
    first, last = attempts(sandbox, setup.name)
    assert (first["attempt"], first["outcome"], first["reason"]) == (1, "Failed", "StepTransient")
    assert (last["attempt"], last["outcome"], last["reason"]) == (2, "Failed", "StepTransient")
    assert (last["step"], last["exit_code"], last["engine"], last["recipe"]) == ("second", 42, "local", "scripts")
    assert last["recipe_digest"].startswith("sha256:")
    assert last["queued_at"] <= first["started_at"] <= first["finished_at"] <= last["started_at"]
    assert [step["name"] for step in last["steps"]] == ["first", "second"]
    assert all(step["finishedAt"] >= step["startedAt"] for step in last["steps"])


def test_logs_and_history_outlive_the_project_setup(sandbox: Sandbox) -> None:
    setup = Setup.make(sandbox, "scripts", first="echo started; sleep 300")
    wait_for(
        lambda: stored_log(sandbox.database_url, setup.name) == [("first", "started\n")],
        "the log of the attempt that runs",
    )
    sandbox.api.delete(setup.name)
    wait_for(lambda: attempts(sandbox, setup.name) != [], "the history of the attempt that was stopped")
    (attempt,) = attempts(sandbox, setup.name)
    assert (attempt["outcome"], attempt["reason"]) == ("Cancelled", "Cancelled")
    assert attempt["message"] == "stopped by the deletion of its ProjectSetup"
    assert stored_log(sandbox.database_url, setup.name) == [("first", "started\n")]


@pytest.mark.parametrize("limit", ["64Ki", "0"])
def test_the_limit_bounds_a_log(new_sandbox: NewSandbox, limit: str) -> None:
    with new_sandbox(log_limit=limit) as sandbox:
        sandbox.operator.start()
        setup = Setup.make(sandbox, "scripts", first="seq -f 'line %06.0f' 1 100000", second="echo end")
        setup.ended()
        kept = stored_log(sandbox.database_url, setup.name)
        if limit == "0":
            assert kept == []
            (attempt,) = attempts(sandbox, setup.name)
            assert all(step["finishedAt"] for step in attempt["steps"])
            return
        text = "".join(text for _, text in kept)
        (head,) = rows(sandbox, "SELECT lines_left_out FROM setup_logs WHERE project_id = %s", setup.name)
        assert len(text) <= 64 * 1024
        assert text.startswith("line 000001\n")
        assert text.endswith("line 100000\nend\n")
        assert head["lines_left_out"] == 100_001 - text.count("\n")
