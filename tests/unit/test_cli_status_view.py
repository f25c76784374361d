"""How ProjectSetups look to people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rich.text import Text

from projectsetup.api.models import AttemptRecord, Commits, Failure, ProjectSetupResource
from projectsetup.api.reasons import AttemptOutcome, Reason
from projectsetup.cli.following import Observed
from projectsetup.cli.status import (
    COLUMNS,
    detail,
    live_overview,
    looks_the_same,
    overview,
    row,
    without_managed_fields,
)
from projectsetup.cli.watch import ChangeLog
from tests.support.setup_bodies import NAME, NOON, RUN, body, resource, status

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
        "Timeout      30m per attempt",
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
    assert "Message       2 tests failed \ufffd[31mred\ufffd[0m [bold]not bold[/bold]\n" in shown
    assert "Failure       StepFailed in step test, exit code 2\n" in shown
    assert "Next attempt  2026-11-24 12:05:12 UTC (in 12s)" in shown
    assert "CONDITION    STATUS  REASON      SINCE" in shown
    assert "\nStalled      True    StepFailed  5m" in shown
    assert "ATTEMPT  OUTCOME  REASON         STEP  STARTED  TOOK   MESSAGE" in shown
    assert "\n1        Failed   StepTransient  push  5m ago   1m30s  push: reset" in shown


def test_what_broke_before_is_told_beside_what_is_now() -> None:
    broke = Failure(reason="StepTransient", message="push: reset", step="push", exit_code=75, retryable=True)
    told = status(Reason.RETRY_SCHEDULED, "next attempt in 15s", attempt=1, failure=broke)
    assert "Failure    StepTransient in step push, exit code 75: push: reset" in lines(detail(resource(told), NOON))


def test_on_a_terminal_what_runs_has_a_bar() -> None:
    assert "Step       compile ━━━━━─────── 3/7" in lines(detail(resource(RUNNING), NOON, bar=True))
    assert live_overview([resource(RUNNING)], NOON, with_namespace=False, height=9).plain.count("━━━━━─────── 3/7") == 1
    queued = resource(status(Reason.QUEUED, progress="3/7"))
    assert row(queued, NOON, bar=True)[4] == "3/7"


def test_a_screen_shows_first_what_is_under_way() -> None:
    def named(name: str, told: dict[str, Any], **annotations: str) -> ProjectSetupResource:
        return resource(
            told, name=name, annotations={f"setup.codemyspec.com/{key}": annotations[key] for key in annotations}
        )

    over = status(Reason.SETUP_SUCCEEDED, finished_at=NOON)
    over_later = status(Reason.SETUP_SUCCEEDED, finished_at=LATER)
    setups = [
        named("over", over), named("just-over", over_later), named("last", status(Reason.QUEUED)),
        named("next", status(Reason.QUEUED), priority="0"), named("failed", status(Reason.STEP_FAILED)),
        named("runs", RUNNING), named("unseen", {}), named("soon", status(Reason.RETRY_SCHEDULED)),
    ]  # fmt: skip
    shown = lines(live_overview(setups, LATER, with_namespace=True, height=40))
    assert [line.split()[1] for line in shown[1:-1]] == [
        "runs", "soon", "next", "last", "unseen", "failed", "just-over", "over",
    ]  # fmt: skip
    assert shown[-1] == "1 Running, 1 BackingOff, 2 Queued, 1 Failed, 2 Succeeded, 1 pending"
    shown = lines(live_overview(setups, LATER, with_namespace=True, height=6))
    assert [line.split()[1] for line in shown[1:-1]] == ["runs", "soon", "next"]
    assert shown[-1].startswith("… and 5 more; 1 Running, ")


def test_a_screen_without_any_says_so() -> None:
    assert lines(live_overview([], NOON, with_namespace=False, height=9))[-1] == "no ProjectSetups"


def test_commits_in_detail() -> None:
    told = status(Reason.SETUP_SUCCEEDED, "set up", commits=Commits(code_repo="abc", docs_repo="def"))
    shown = lines(detail(resource(told), NOON))
    assert "Code commit  abc" in shown
    assert "Docs commit  def" in shown


@pytest.mark.parametrize("metadata", [{}, {"managedFields": [{"manager": "kubectl"}]}])
def test_raw_objects_go_without_managed_fields(metadata: dict[str, Any]) -> None:
    assert without_managed_fields(body(RUNNING, **metadata)) == body(RUNNING)


def test_a_change_is_shown_once() -> None:
    log = ChangeLog(lambda one, other: bool(one.body["spec"] == other.body["spec"]))
    one, key = Observed(body()), ("team-a", NAME)
    assert one.key == key
    assert log.changed({key: one}) == [key]
    assert log.changed({key: Observed(body(RUNNING))}) == []
    assert log.changed({key: Observed(body(spec={"suspend": True}))}) == [key]
    assert log.changed({}) == []
    assert log.changed({key: one}) == [key]
