"""How ProjectSetups look to people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rich.text import Text

from projectsetup.api.models import AttemptRecord, Commits, Failure, ProjectSetupResource
from projectsetup.api.reasons import AttemptOutcome, Reason
from projectsetup.cli.status import (
    COLUMNS,
    detail,
    live_overview,
    overview,
    row,
)
from projectsetup.cli.watch import Observed, looks_different
from projectsetup.kube.informer import Change
from tests.support.setup_bodies import NAME, NOON, RUN, body, resource, status

LATER = NOON + timedelta(minutes=5)
PRIORITY = "setup.codemyspec.com/priority"
RUNNING = status(
    Reason.RUNNING, "step compile", run_ref=RUN, project_status="compiling", step="compile", progress="3/7",
    project_name="shop", attempt=1, max_attempts=3, queued_at=NOON - timedelta(minutes=2), started_at=NOON,
)  # fmt: skip


def lines(text: Text) -> list[str]:
    return text.plain.splitlines()


@pytest.mark.parametrize(
    ("setup", "cells"),
    [
        (
            resource(RUNNING, annotations={PRIORITY: "0"}),
            (NAME, "shop", "Running", "compiling", "compile", "3/7", "1/3", "0", "1h", "Running", "step compile"),
        ),
        (resource(), (NAME, "", "", "", "", "", "0/3", "1", "1h", "", "")),
    ],
    ids=["running", "not seen by an operator"],
)
def test_a_row_has_a_cell_for_each_column(setup: ProjectSetupResource, cells: tuple[str, ...]) -> None:
    assert row(setup, NOON) == cells
    assert len(cells) == len(COLUMNS)


def test_an_invalid_resource_shows_its_problem() -> None:
    *_, priority, _age, _reason, message = row(resource(annotations={PRIORITY: "12"}), NOON)
    assert priority == "?"
    assert message.startswith("annotation setup.codemyspec.com/priority is '12'")


def test_the_oldest_comes_first() -> None:
    young = resource(name="b" + NAME[1:])
    old = resource(name="c" + NAME[1:], creationTimestamp="2026-11-23T00:00:00Z")
    shown = lines(overview([young, old], NOON, with_namespace=True))
    assert shown[0].split()[:2] == ["NAMESPACE", "ID"]
    assert [line.split()[:2] for line in shown[1:]] == [["team-a", old.name], ["team-a", young.name]]
    (line,) = lines(overview([young, old], NOON, with_namespace=False, only=[old.key]))
    assert line.split()[0] == old.name


def test_a_running_setup_in_detail() -> None:
    spec = {"parameters": {"license": "MIT"}, "credentialsSecretRef": {"name": "git"}, "suspend": True}
    assert lines(detail(resource(RUNNING, spec=spec), LATER))[:19] == [
        "Project      shop", f"ID           {NAME}", "Namespace    team-a", "Phase        Running",
        "Reason       Running",
        "Message      step compile", "Status       compiling", "Step         compile 3/7", "Attempt      1/3",
        "Recipe       python-service", "Parameters   license=MIT", "Credentials  Secret git", "Suspended    yes",
        "Timeout      30m per attempt", "Priority     1", "Backoff      15s to 10m",
        "Created      2026-11-24 11:00:00 UTC (1h5m ago)", "Queued       2026-11-24 11:58:00 UTC (7m ago)",
        "Started      2026-11-24 12:00:00 UTC (5m ago)",
    ]  # fmt: skip


def test_a_failure_in_detail() -> None:
    message = "2 tests failed\n\x1b[31mred\x1b[0m [bold]not bold[/bold]"
    attempt = AttemptRecord(
        number=1, started_at=NOON, finished_at=NOON + timedelta(seconds=90), outcome=AttemptOutcome.FAILED,
        reason="StepTransient", message="push: reset", step="push",
    )  # fmt: skip
    failed = status(
        Reason.STEP_FAILED, message, attempt=2, max_attempts=3, project_status="failed", attempts=(attempt,),
        failure=Failure(reason="StepFailed", message=message, step="test", exit_code=2, retryable=False),
        next_attempt_at=LATER + timedelta(seconds=12),
    )  # fmt: skip
    shown = detail(resource(failed), LATER).plain
    for text in (
        "Message       2 tests failed \ufffd[31mred\ufffd[0m [bold]not bold[/bold]\n",
        "Failure       StepFailed in step test, exit code 2\n",
        "Next attempt  2026-11-24 12:05:12 UTC (in 12s)",
        "CONDITION    STATUS  REASON      SINCE",
        "\nStalled      True    StepFailed  5m",
        "ATTEMPT  OUTCOME  REASON         STEP  STARTED  TOOK   MESSAGE",
        "\n1        Failed   StepTransient  push  5m ago   1m30s  push: reset",
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("state", "bar", "line"),
    [
        (
            status(
                Reason.RETRY_SCHEDULED, "next attempt in 15s", attempt=1,
                failure=Failure(
                    reason="StepTransient", message="push: reset", step="push", exit_code=75, retryable=True
                ),
            ), False, "Failure    StepTransient in step push, exit code 75: push: reset",
        ),
        (RUNNING, True, "Step       compile ━━━━━─────── 3/7"),
        (
            status(Reason.SETUP_SUCCEEDED, "set up", commits=Commits(code_repo="abc", docs_repo="def")), False,
            "Docs commit  def",
        ),
    ],
    ids=["the failure before", "the bar of a terminal", "commits"],
)  # fmt: skip
def test_more_in_detail(state: dict[str, Any], *, bar: bool, line: str) -> None:
    assert line in lines(detail(resource(state), NOON, bar=bar))


def test_a_screen_shows_active_setups_first() -> None:
    def named(name: str, state: dict[str, Any], priority: str = "1") -> ProjectSetupResource:
        return resource(state, name=name, annotations={PRIORITY: priority})

    setups = [
        named("ended", status(Reason.SETUP_SUCCEEDED, finished_at=NOON)),
        named("just-ended", status(Reason.SETUP_SUCCEEDED, finished_at=LATER)),
        named("last", status(Reason.QUEUED)), named("next", status(Reason.QUEUED), "0"),
        named("failed", status(Reason.STEP_FAILED)), named("runs", RUNNING), named("unseen", {}),
        named("soon", status(Reason.RETRY_SCHEDULED)),
    ]  # fmt: skip
    shown = lines(live_overview(setups, LATER, with_namespace=True, height=40))
    assert [line.split()[1] for line in shown[1:-1]] == [
        "runs", "soon", "next", "last", "unseen", "failed", "just-ended", "ended",
    ]  # fmt: skip
    assert shown[-1] == "1 Running, 1 BackingOff, 2 Queued, 1 Failed, 2 Succeeded, 1 pending"
    shown = lines(live_overview(setups, LATER, with_namespace=True, height=6))
    assert [line.split()[1] for line in shown[1:-1]] == ["runs", "soon", "next"]
    assert shown[-1].startswith("… and 5 more; 1 Running, ")
    assert lines(live_overview([], NOON, with_namespace=False, height=9))[-1] == "no ProjectSetups"


@pytest.mark.parametrize(
    ("before", "after", "is_shown"),
    [
        (None, RUNNING, True),
        (RUNNING, {**RUNNING, "progress": "4/7"}, True),
        (RUNNING, {**RUNNING, "observedGeneration": 2}, False),
        (RUNNING, None, False),
    ],
    ids=["new", "another step", "same row", "deleted"],
)
def test_a_change_is_shown_if_the_row_looks_different(before: Any, after: Any, *, is_shown: bool) -> None:
    states = [None if state is None else Observed(body(state)) for state in (before, after)]
    assert looks_different(Change(("team-a", NAME), *states)) is is_shown
