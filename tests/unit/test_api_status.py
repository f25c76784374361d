from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from projectsetup.api.models import Condition, ConditionStatus, RunRef
from projectsetup.api.reasons import RETRYABLE, SUCCESSES, TERMINAL_FAILURES, WAITING, Phase, Reason
from projectsetup.api.status import conditions_for, phase_of

NOON = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)
RUN = RunRef(engine="local", name="run", id="1")


def conditions_of(status: ConditionStatus, reason: Reason, **changes: Any) -> tuple[Condition, ...]:
    usual: dict[str, Any] = {"message": "why", "generation": 4, "previous": (), "now": NOON}
    return conditions_for(status=status, reason=reason, **usual | changes)


@pytest.mark.parametrize(
    ("status", "reason", "kstatus", "phase"),
    [
        ("Unknown", Reason.QUEUED, ("False", "True", "False"), Phase.QUEUED),
        ("Unknown", Reason.RUNNING, ("False", "True", "False"), Phase.RUNNING),
        ("Unknown", Reason.RETRY_SCHEDULED, ("False", "True", "False"), Phase.BACKING_OFF),
        ("Unknown", Reason.DATABASE_UNAVAILABLE, ("False", "True", "False"), Phase.QUEUED),
        ("Unknown", Reason.DEPENDENCY_MISSING, ("False", "True", "False"), Phase.QUEUED),
        ("Unknown", Reason.SUSPENDED, ("False", "False", "False"), Phase.SUSPENDED),
        ("True", Reason.SETUP_SUCCEEDED, ("True", "False", "False"), Phase.SUCCEEDED),
        ("True", Reason.ALREADY_SET_UP, ("True", "False", "False"), Phase.SUCCEEDED),
        *(
            ("False", reason, ("False", "False", "True"), Phase.FAILED)
            for reason in sorted(TERMINAL_FAILURES - {Reason.CANCELLED})
        ),
        ("False", Reason.CANCELLED, ("False", "False", "True"), Phase.CANCELLED),
    ],
)
def test_kstatus_and_phase_follow_from_succeeded(
    status: ConditionStatus, reason: Reason, kstatus: tuple[str, str, str], phase: Phase
) -> None:
    conditions = conditions_of(status, reason)
    assert [condition.type for condition in conditions] == ["Succeeded", "Ready", "Reconciling", "Stalled"]
    assert tuple(condition.status for condition in conditions) == (status, *kstatus)
    assert {condition.reason for condition in conditions} == {reason}
    assert {condition.observed_generation for condition in conditions} == {4}
    assert phase_of(conditions, None) is phase


def test_every_reason_has_exactly_one_kind() -> None:
    kinds = [WAITING, TERMINAL_FAILURES, RETRYABLE, SUCCESSES]
    assert sorted(reason for kind in kinds for reason in kind) == sorted(Reason)


@pytest.mark.parametrize(("run_ref", "phase"), [(None, Phase.QUEUED), (RUN, Phase.RUNNING)])
def test_an_unknown_reason_has_a_phase(run_ref: RunRef | None, phase: Phase) -> None:
    assert phase_of((), None) is Phase.QUEUED
    assert phase_of(conditions_of("Unknown", Reason.DATABASE_UNAVAILABLE), run_ref) is phase
    (succeeded, *_) = conditions_of("Unknown", Reason.QUEUED)
    assert phase_of([succeeded.model_copy(update={"reason": "Thinking"})], run_ref) is phase


def test_the_transition_time_changes_only_with_the_status() -> None:
    queued = conditions_of("Unknown", Reason.QUEUED)
    running = conditions_of("Unknown", Reason.RUNNING, previous=queued, now=NOON + timedelta(minutes=1))
    failed = conditions_of("False", Reason.STEP_FAILED, previous=running, now=NOON + timedelta(minutes=2))
    first, last = NOON.replace(microsecond=0), NOON.replace(microsecond=0) + timedelta(minutes=2)
    assert {c.last_transition_time for c in running} == {first}
    changed = dict.fromkeys(["Succeeded", "Reconciling", "Stalled"], last)
    assert {c.type: c.last_transition_time for c in failed} == changed | {"Ready": first}


def test_times_are_whole_seconds_in_utc() -> None:
    conditions = conditions_of("Unknown", Reason.QUEUED, now=NOON.astimezone(timezone(timedelta(hours=2))))
    assert {c.last_transition_time.isoformat() for c in conditions} == {"2026-11-24T12:00:00+00:00"}


def test_messages_are_cut_and_absent_from_false_reconciling() -> None:
    messages = {c.type: c.message for c in conditions_of("False", Reason.STEP_FAILED, message="x" * 2000)}
    assert messages["Succeeded"] == messages["Ready"] == messages["Stalled"] == "x" * 1023 + "…"
    assert messages["Reconciling"] == ""
