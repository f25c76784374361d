"""What the state of a ProjectSetup means to who waits for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from projectsetup.api.constants import RETRY_REQUESTED_AT
from projectsetup.api.reasons import TERMINAL_FAILURES, WAITING, Reason
from projectsetup.cli.progress import Ended, attempt, ended, live_summary, progress_bar, summary
from projectsetup.cli.setups import effect_of_cancel, effect_of_retry
from tests.support.setup_bodies import NOON, RUN, resource, status

NOTHING: dict[str, Any] = {}
RUNNING = status(
    Reason.RUNNING, "step compile", run_ref=RUN, project_status="compiling", step="compile", progress="3/7",
    attempt=1, max_attempts=3,
)  # fmt: skip
BACKING_OFF = status(
    Reason.RETRY_SCHEDULED, "StepTransient: push: reset", attempt=1, max_attempts=3,
    next_attempt_at=NOON + timedelta(seconds=15),
)  # fmt: skip
SUCCEEDED = status(Reason.SETUP_SUCCEEDED, "set up")
FAILED = status(Reason.STEP_FAILED, "2 tests failed", attempt=1, max_attempts=3)
CANCELLED = status(Reason.CANCELLED, "as asked")
SUSPENDED = status(Reason.SUSPENDED, "spec.suspend is true")


@pytest.mark.parametrize("reason", sorted(WAITING))
def test_what_waits_or_runs_has_not_ended(reason: Reason) -> None:
    assert ended(resource(status(reason))) is None


@pytest.mark.parametrize(
    ("progress", "bar"),
    [
        ("0/7", "──────────── 0/7"), ("3/7", "━━━━━─────── 3/7"), ("7/7", "━━━━━━━━━━━━ 7/7"),
        (None, ""), ("0/0", ""), ("many", ""),
    ],
)  # fmt: skip
def test_progress_as_a_bar(progress: str | None, bar: str) -> None:
    assert progress_bar(resource(status(Reason.RUNNING, run_ref=RUN, progress=progress))) == bar


def test_on_a_terminal_the_line_tells_how_long_it_runs() -> None:
    told = {**RUNNING, "startedAt": "2026-11-24T12:00:00Z"}
    line = live_summary(resource(told), NOON + timedelta(seconds=65))
    assert line == "━━━━━─────── 3/7  compile, attempt 1/3, 1m5s"
    assert live_summary(resource(BACKING_OFF), NOON) == summary(resource(BACKING_OFF), NOON)


def test_what_no_operator_has_seen_has_not_ended() -> None:
    assert ended(resource()) is None


def test_success_is_an_end_whatever_is_asked_for() -> None:
    assert ended(resource(SUCCEEDED, annotations={RETRY_REQUESTED_AT: "now"})) == Ended(True, "set up")


@pytest.mark.parametrize("reason", sorted(TERMINAL_FAILURES))
def test_a_failure_or_a_cancel_is_an_end(reason: Reason) -> None:
    assert ended(resource(status(reason, "why"))) == Ended(False, f"{reason}: why")


def test_the_old_end_is_none_while_a_retry_is_pending() -> None:
    failed = {**FAILED, "lastHandledRetry": "before"}
    assert ended(resource(failed, annotations={RETRY_REQUESTED_AT: "now"})) is None
    pending = resource(FAILED, annotations={RETRY_REQUESTED_AT: "now"})
    assert ended(pending) is None
    assert summary(pending, NOON) == "Failed, retry requested, waiting for the operator"


def test_the_end_after_a_handled_retry_counts() -> None:
    failed = {**FAILED, "lastHandledRetry": "now"}
    assert ended(resource(failed, annotations={RETRY_REQUESTED_AT: "now"})) == Ended(
        False, "StepFailed: 2 tests failed"
    )


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (NOTHING, "waiting for the operator"),
        (status(Reason.QUEUED, "third in line"), "Queued: third in line"),
        (RUNNING, "Running, compiling, compile, 3/7, attempt 1/3"),
        (BACKING_OFF, "BackingOff, attempt 1/3, next in 15s: StepTransient: push: reset"),
        (status(Reason.DATABASE_UNAVAILABLE, "PostgreSQL is away"), "Queued: PostgreSQL is away"),
        (FAILED, "Failed, attempt 1/3: 2 tests failed"),
        (SUSPENDED, "Suspended: spec.suspend is true"),
    ],
)
def test_where_a_setup_is_in_one_line(told: dict[str, Any], line: str) -> None:
    assert summary(resource(told), NOON) == line


def test_attempts_are_counted_against_their_limit() -> None:
    limit = {"setup.codemyspec.com/max-attempts": "5"}
    assert attempt(resource(FAILED, annotations=limit)) == "1/3"
    assert attempt(resource(annotations=limit)) == "0/5"
    assert attempt(resource(annotations={"setup.codemyspec.com/max-attempts": "x"})) == "0/?"


NO_EFFECT, NEW_SERIES = "retry has no effect: the setup has not ended yet", "a new series of attempts starts"
NO_ATTEMPT, TOO_LATE = "cancel requested: no attempt will start", "cancel ignored: the setup has already ended"


@pytest.mark.parametrize(
    ("told", "retry", "cancel"),
    [
        (NOTHING, NO_EFFECT, NO_ATTEMPT),
        (RUNNING, NO_EFFECT, "cancel requested: the running attempt is being stopped"),
        (BACKING_OFF, "retry requested: the next attempt starts now", NO_ATTEMPT),
        (SUCCEEDED, "retry ignored: the setup has already succeeded", TOO_LATE),
        (FAILED, f"retry requested: {NEW_SERIES}", TOO_LATE),
        (CANCELLED, f"retry requested: {NEW_SERIES}", TOO_LATE),
    ],
)
def test_the_effect_of_a_retry_and_of_a_cancel(told: dict[str, Any], retry: str, cancel: str) -> None:
    assert effect_of_retry(resource(told)) == retry
    assert effect_of_cancel(resource(told)) == cancel
