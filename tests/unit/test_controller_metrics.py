"""What the metrics count: ends between two versions of `.status`, events, and how long a setup has been ready."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest

from projectsetup.api.models import AttemptRecord, ProjectSetupStatus
from projectsetup.api.reasons import EventReason, Reason
from projectsetup.controller.events import Event
from projectsetup.controller.metrics import attempt_end, count_changes, ready_since, setup_end
from projectsetup.observe.metrics import Metrics
from tests.support.setup_bodies import NOON, RUN, resource
from tests.support.setup_bodies import status as reported


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def body_of(reason: str, *, runs: bool = False, ended: tuple[tuple[str, str], ...] = (), **more: Any) -> dict[str, Any]:
    """A `.status` with this reason and these ended attempts."""
    times = {"started_at": NOON, "finished_at": NOON + timedelta(seconds=50)}
    attempts = tuple(
        AttemptRecord(number=number, outcome=outcome, reason=why, message="", **times)
        for number, (outcome, why) in enumerate(ended, start=1)
    )
    return reported(Reason(reason), run_ref=RUN if runs else None, attempts=attempts) | more


def status(*arguments: Any, **named: Any) -> ProjectSetupStatus:
    return ProjectSetupStatus.model_validate(body_of(*arguments, **named))


NOTHING: Final = ProjectSetupStatus()
QUEUED: Final = status("Queued")
RUNNING: Final = status("Running", runs=True)
SECOND: Final = status("Running", runs=True, ended=(("Failed", "StepKilled"),))
OVER: Final = status("SetupSucceeded", ended=(("Succeeded", "SetupSucceeded"),))
EXHAUSTED: Final = status("AttemptsExhausted", ended=(("Failed", "StepKilled"), ("Failed", "StepTransient")))
CANCELLED: Final = ("Cancelled", "Cancelled")


@pytest.mark.parametrize(
    ("before", "after", "setup", "attempt"),
    [
        (NOTHING, QUEUED, None, None),
        (QUEUED, RUNNING, None, None),
        (RUNNING, RUNNING, None, None),
        (RUNNING, OVER, ("Succeeded", "SetupSucceeded"), ("Succeeded", "SetupSucceeded")),
        (RUNNING, status("RetryScheduled", ended=(("Failed", "StepKilled"),)), None, ("Failed", "StepKilled")),
        (RUNNING, status("Queued"), None, ("Returned", "Queued")),
        (RUNNING, status("Suspended"), None, ("Returned", "Suspended")),
        (SECOND, EXHAUSTED, ("Failed", "AttemptsExhausted"), ("Failed", "StepTransient")),
        (RUNNING, status("Cancelled", ended=(CANCELLED,)), CANCELLED, CANCELLED),
        (RUNNING, status("ProjectClaimed"), ("Failed", "ProjectClaimed"), ("Failed", "ProjectClaimed")),
        (QUEUED, status("Cancelled"), CANCELLED, None),
        (NOTHING, status("InvalidSpec"), ("Failed", "InvalidSpec"), None),
        (OVER, OVER, None, None),
        (status("Cancelled"), QUEUED, None, None),
    ],
)
def test_ends_between_two_versions_of_status(
    before: ProjectSetupStatus,
    after: ProjectSetupStatus,
    setup: tuple[str, str] | None,
    attempt: tuple[str, str] | None,
) -> None:
    assert (setup_end(before, after), attempt_end(before, after)) == (setup, attempt)


@pytest.mark.parametrize(
    ("reason", "series"),
    [
        (EventReason.RETRY_SCHEDULED, "retries_total"),
        (EventReason.RETRY_REQUESTED, 'retry_requests_total{result="accepted"}'),
        (EventReason.RETRY_COALESCED, 'retry_requests_total{result="coalesced"}'),
        (EventReason.RETRY_IGNORED, 'retry_requests_total{result="ignored"}'),
        (EventReason.CANCELLED, 'cancel_requests_total{result="accepted"}'),
        (EventReason.CANCEL_IGNORED, 'cancel_requests_total{result="ignored"}'),
    ],
)
def test_events_that_are_counted(reason: EventReason, series: str) -> None:
    metrics = Metrics()
    count_changes(metrics, QUEUED, QUEUED, (Event(EventReason.STARTED, ""), Event(reason, "")))
    counted = {line for line in metrics.render().decode().splitlines() if line.endswith(" 1.0")}
    assert counted == {f"projectsetup_{series} 1.0"}


RECONCILING = {"type": "Reconciling", "status": "True", "reason": "Queued", "message": "", "lastTransitionTime": at(20)}


@pytest.mark.parametrize(
    ("stored", "since"),
    [
        ({}, 0),
        (body_of("Queued", queuedAt=at(5)), 5),
        (body_of("Queued", queuedAt=at(5), conditions=[RECONCILING]), 20),
        (body_of("Queued", queuedAt=at(5), ended=(("Failed", "StepKilled"),)), 50),
        (body_of("RetryScheduled", queuedAt=at(5), nextAttemptAt=at(65), ended=(("Failed", "StepKilled"),)), 65),
        (body_of("RetryScheduled", queuedAt=at(5), nextAttemptAt=at(165)), 100),
        (body_of("Suspended", queuedAt=at(5)), 100),
    ],
    ids=["new", "queued", "resumed", "after an attempt", "after its delay", "delay ended early", "suspended"],
)
def test_since_when_it_could_have_started(stored: dict[str, Any], since: float) -> None:
    waiting = resource(stored, creationTimestamp=at(0))
    assert ready_since(waiting, NOON + timedelta(seconds=100)) == NOON + timedelta(seconds=since)
