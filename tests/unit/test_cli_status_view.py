"""How ProjectSetups look to people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rich.text import Text

from projectsetup.api.models import AttemptRecord, Commits, Failure
from projectsetup.api.reasons import AttemptOutcome, Reason
from projectsetup.cli.following import Observed
from projectsetup.cli.presenting import ChangeLog
from projectsetup.cli.status_view import COLUMNS, detail, looks_the_same, overview, presentable, row
from tests.setup_bodies import NAME, NOON, RUN, body, resource, status

LATER = NOON + timedelta(minutes=5)
RUNNING = status(
    Reason.RUNNING, "step compile", run_ref=RUN, project_status="compiling", step="compile", progress="3/7",
    attempt=1, max_attempts=3, queued_at=NOON - timedelta(minutes=2), started_at=NOON,
)  # fmt: skip


def lines(text: Text) -> list[str]:
    return text.plain.splitlines()


def test_a_row_has_a_cell_for_each_column() -> None:
    told = resource(RUNNING, annotations={"setup.codemyspec.com/priority": "0"})
    assert dict(zip(COLUMNS, row(told, NOON), strict=True)) == {
        "ID": NAME, "PHASE": "Running", "STATUS": "compiling", "STEP": "compile", "PROGRESS": "3/7", "ATTEMPT": "1/3",
        "PRIORITY": "0", "AGE": "1h", "REASON": "Running", "MESSAGE": "step compile",
    }  # fmt: skip


def test_a_resource_that_no_operator_has_seen_has_a_row_too() -> None:
    assert row(resource(), NOON)[1:] == ("", "", "", "", "0/3", "1", "1h", "", "")


def test_a_resource_that_cannot_be_read_tells_its_problem() -> None:
    wrong = resource(annotations={"setup.codemyspec.com/priority": "12"})
    assert row(wrong, NOON)[6] == "?"
    assert row(wrong, NOON)[-1].startswith("annotation setup.codemyspec.com/priority is '12'")


def test_the_oldest_comes_first() -> None:
    young = resource(name="b" + NAME[1:])
    old = resource(name="c" + NAME[1:], creationTimestamp="2026-11-23T00:00:00Z")
    shown = lines(overview([young, old], NOON, with_namespace=True))
    assert shown[0].split()[:2] == ["NAMESPACE", "ID"]
    assert [line.split()[:2] for line in shown[1:]] == [["team-a", old.name], ["team-a", young.name]]


def test_only_the_rows_asked_for_are_shown_when_a_table_goes_on() -> None:
    young, old = resource(name="b" + NAME[1:]), resource(name="c" + NAME[1:])
    (line,) = lines(overview([young, old], NOON, with_namespace=False, only=[old.key]))
    assert line.split()[0] == old.name


def test_the_age_alone_makes_no_difference() -> None:
    assert looks_the_same(resource(RUNNING), resource(RUNNING, resourceVersion="8"))
    assert not looks_the_same(resource(RUNNING), resource({**RUNNING, "progress": "4/7"}))


def test_a_running_setup_in_detail() -> None:
    spec = {"parameters": {"license": "MIT"}, "credentialsSecretRef": {"name": "git"}, "suspend": True}
    assert lines(detail(resource(RUNNING, spec=spec), LATER))[:18] == [
        f"Project      {NAME}",
        "Namespace    team-a",
        "Phase        Running",
        "Reason       Running",
        "Message      step compile",
        "Status       compiling",
        "Step         compile 3/7",
        "Attempt      1/3",
        "Recipe       python-service",
        "Parameters   license=MIT",
        "Credentials  Secret git",
        "Suspended    yes",
        "Timeout      30m an attempt",
        "Priority     1",
        "Backoff      15s to 10m",
        "Created      2026-11-24 11:00:00 UTC (1h5m ago)",
        "Queued       2026-11-24 11:58:00 UTC (7m ago)",
        "Started      2026-11-24 12:00:00 UTC (5m ago)",
    ]


def test_a_failure_in_detail() -> None:
    message = "2 tests failed\n\x1b[31mred\x1b[0m [bold]not bold[/bold]"
    attempt = AttemptRecord(
        number=1, started_at=NOON, finished_at=NOON + timedelta(seconds=90), outcome=AttemptOutcome.FAILED,
        reason="StepTransient", message="push: reset", step="push",
    )  # fmt: skip
    told = status(
        Reason.STEP_FAILED, message, attempt=2, max_attempts=3, project_status="failed", attempts=(attempt,),
        failure=Failure(reason="StepFailed", message=message, step="test", exit_code=2, retryable=False),
        next_attempt_at=LATER + timedelta(seconds=12),
    )  # fmt: skip
    shown = detail(resource(told), LATER).plain
    assert (
        "Failure       StepFailed in step test, exit code 2: 2 tests failed \ufffd[31mred\ufffd[0m [bold]not" in shown
    )
    assert "Next attempt  2026-11-24 12:05:12 UTC (in 12s)" in shown
    assert "CONDITION    STATUS  REASON      SINCE  MESSAGE" in shown
    assert "\nStalled      True    StepFailed  5m     2 tests failed" in shown
    assert "ATTEMPT  OUTCOME  REASON         STEP  STARTED  TOOK   MESSAGE" in shown
    assert "\n1        Failed   StepTransient  push  5m ago   1m30s  push: reset" in shown


def test_commits_in_detail() -> None:
    told = status(Reason.SETUP_SUCCEEDED, "set up", commits=Commits(code_repo="abc", docs_repo="def"))
    shown = lines(detail(resource(told), NOON))
    assert "Code commit  abc" in shown
    assert "Docs commit  def" in shown


@pytest.mark.parametrize("metadata", [{}, {"managedFields": [{"manager": "kubectl"}]}])
def test_raw_objects_go_without_managed_fields(metadata: dict[str, Any]) -> None:
    assert presentable(body(RUNNING, **metadata)) == body(RUNNING)


def test_a_change_is_shown_once() -> None:
    log = ChangeLog(lambda one, other: bool(one.body["spec"] == other.body["spec"]))
    one, key = Observed(body()), ("team-a", NAME)
    assert one.key == key
    assert log.changed({key: one}) == [key]
    assert log.changed({key: Observed(body(RUNNING))}) == []
    assert log.changed({key: Observed(body(spec={"suspend": True}))}) == [key]
    assert log.changed({}) == []
    assert log.changed({key: one}) == [key]
