"""What the state of a ProjectSetup means to someone who waits for it, in one line."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from projectsetup.api.constants import RETRY_REQUESTED_AT
from projectsetup.api.reasons import TERMINAL_FAILURES, WAITING, Reason
from projectsetup.cli.setups import effect_of_cancel, effect_of_retry
from projectsetup.cli.status import Ended, attempt, ended, live_summary, progress_bar, summary
from tests.support.setup_bodies import NOON, RUN, resource, status

UNSEEN: dict[str, Any] = {}
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
RETRY = {RETRY_REQUESTED_AT: "now"}


@pytest.mark.parametrize("state", [UNSEEN, *map(status, sorted(WAITING))])
def test_a_setup_that_waits_or_runs_has_not_ended(state: dict[str, Any]) -> None:
    assert ended(resource(state)) is None


@pytest.mark.parametrize("reason", sorted(TERMINAL_FAILURES))
def test_a_failure_or_a_cancel_is_an_end(reason: Reason) -> None:
    assert ended(resource(status(reason, "why"))) == Ended(False, f"{reason}: why")


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (SUCCEEDED, Ended(True, "set up")),
        (FAILED, None),
        ({**FAILED, "lastHandledRetry": "before"}, None),
        ({**FAILED, "lastHandledRetry": "now"}, Ended(False, "StepFailed: 2 tests failed")),
    ],
)
def test_a_failure_is_not_the_end_while_a_retry_is_pending(state: dict[str, Any], end: Ended | None) -> None:
    assert ended(resource(state, annotations=RETRY)) == end


@pytest.mark.parametrize(
    ("progress", "bar"),
    [
        ("0/7", "──────────── 0/7"), ("3/7", "━━━━━─────── 3/7"), ("7/7", "━━━━━━━━━━━━ 7/7"),
        (None, ""), ("0/0", ""), ("many", ""),
    ],
)  # fmt: skip
def test_progress_as_a_bar(progress: str | None, bar: str) -> None:
    assert progress_bar(resource(status(Reason.RUNNING, run_ref=RUN, progress=progress))) == bar


def test_the_live_line_of_a_running_setup_has_a_bar_and_a_duration() -> None:
    started = {**RUNNING, "startedAt": "2026-11-24T12:00:00Z"}
    line = live_summary(resource(started), NOON + timedelta(seconds=65))
    assert line == "━━━━━─────── 3/7  compile, attempt 1/3, 1m5s"
    assert live_summary(resource(BACKING_OFF), NOON) == summary(resource(BACKING_OFF), NOON)


@pytest.mark.parametrize(
    ("state", "annotations", "line"),
    [
        (UNSEEN, {}, "waiting for the operator"),
        (status(Reason.QUEUED, "third in line"), {}, "Queued: third in line"),
        (RUNNING, {}, "Running, compiling, compile, 3/7, attempt 1/3"),
        (BACKING_OFF, {}, "BackingOff, attempt 1/3, next in 15s: StepTransient: push: reset"),
        (status(Reason.DATABASE_UNAVAILABLE, "database unavailable"), {}, "Queued: database unavailable"),
        (FAILED, {}, "Failed, attempt 1/3: 2 tests failed"),
        (FAILED, RETRY, "Failed, retry requested, waiting for the operator"),
        (status(Reason.SUSPENDED, "spec.suspend is true"), {}, "Suspended: spec.suspend is true"),
    ],
)
def test_the_state_in_one_line(state: dict[str, Any], annotations: dict[str, str], line: str) -> None:
    assert summary(resource(state, annotations=annotations), NOON) == line


@pytest.mark.parametrize(
    ("state", "limit", "shown"), [(FAILED, "5", "1/3"), (UNSEEN, "5", "0/5"), (UNSEEN, "x", "0/?")]
)
def test_attempts_and_their_limit(state: dict[str, Any], limit: str, shown: str) -> None:
    assert attempt(resource(state, annotations={"setup.codemyspec.com/max-attempts": limit})) == shown


NO_EFFECT, NEW_SERIES = "retry has no effect: the setup has not ended yet", "a new series of attempts starts"
NO_ATTEMPT, TOO_LATE = "cancel requested: no attempt will start", "cancel ignored: the setup has already ended"


@pytest.mark.parametrize(
    ("state", "retry", "cancel"),
    [
        (UNSEEN, NO_EFFECT, NO_ATTEMPT),
        (RUNNING, NO_EFFECT, "cancel requested: the running attempt is being stopped"),
        (BACKING_OFF, "retry requested: the next attempt starts now", NO_ATTEMPT),
        (SUCCEEDED, "retry ignored: the setup has already succeeded", TOO_LATE),
        (FAILED, f"retry requested: {NEW_SERIES}", TOO_LATE),
        (CANCELLED, f"retry requested: {NEW_SERIES}", TOO_LATE),
    ],
)
def test_the_effect_of_a_retry_and_of_a_cancel(state: dict[str, Any], retry: str, cancel: str) -> None:
    assert effect_of_retry(resource(state)) == retry
    assert effect_of_cancel(resource(state)) == cancel
