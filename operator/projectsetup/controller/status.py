"""The `.status` that a decision leads to: one function for each state to report.

Every function starts from the current status, so that the rest stays as it is, and transition times change only when
a condition does.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from projectsetup.api.constants import CANCEL_REQUESTED_AT, RETRY_REQUESTED_AT
from projectsetup.api.models import (
    AttemptRecord,
    Commits,
    ConditionStatus,
    ProjectSetupResource,
    ProjectSetupStatus,
    RunRef,
)
from projectsetup.api.reasons import Reason
from projectsetup.api.status import conditions_for, phase_of
from projectsetup.controller.facts import Facts, RecordRead
from projectsetup.controller.outcome import SUSPENDED, AttemptEnd, EndKind, retry_message
from projectsetup.engines.base import run_name
from projectsetup.projects.model import ProjectStatus
from projectsetup.setup.outcome import cut
from projectsetup.setup.types import Progress

ATTEMPTS_KEPT = 10
"""How many ended attempts `.status.attempts` keeps."""


def queued(facts: Facts, message: str = "waiting for a free slot") -> ProjectSetupStatus:
    """It may start and waits for a slot; the record says so too."""
    changes = {"project_status": str(ProjectStatus.SETUP_QUEUED), "next_attempt_at": None, "run_ref": None}
    return _report(facts, "Unknown", Reason.QUEUED, message, **changes)


def suspended(facts: Facts) -> ProjectSetupStatus:
    """`spec.suspend` is true."""
    return _report(facts, "Unknown", Reason.SUSPENDED, SUSPENDED, run_ref=None, **_no_step())


def database_unavailable(facts: Facts, why: str) -> ProjectSetupStatus:
    """It waits for the database; no attempt is used up."""
    return _report(facts, "Unknown", Reason.DATABASE_UNAVAILABLE, f"waiting for the database: {why}")


def dependency_missing(facts: Facts, missing: str, since: datetime, until: datetime) -> ProjectSetupStatus:
    """It waits for a recipe or Secret that does not exist; no attempt is used up."""
    message = f"{missing}; waiting for it until {until:%Y-%m-%dT%H:%M:%SZ}"
    changes = {"dependency_missing_since": since, "next_attempt_at": None, "run_ref": None}
    return _report(facts, "Unknown", Reason.DEPENDENCY_MISSING, message, **changes, **_no_step())


def starting(facts: Facts, number: int, max_attempts: int) -> ProjectSetupStatus:
    """Attempt `number` is about to start with the recipe's first step."""
    plan = facts.recipe
    return _report(
        facts,
        "Unknown",
        Reason.RUNNING,
        _step_message(number, max_attempts, plan.first_step, 0, plan.total),
        attempt=number,
        max_attempts=max_attempts,
        started_at=facts.now,
        finished_at=None,
        next_attempt_at=None,
        run_ref=_run_ref(facts, number),
        **_progress(Progress(plan.first_status, plan.first_step, 0, plan.total)),
    )


def running(facts: Facts, progress: Progress) -> ProjectSetupStatus:
    """The attempt that runs has reached another step."""
    status = facts.resource.status
    limit = status.max_attempts or status.attempt
    message = _step_message(status.attempt, limit, progress.step, progress.completed, progress.total)
    if progress.waits_for is not None:
        message = cut(f"{message}: {progress.waits_for}")
    return _report(facts, "Unknown", Reason.RUNNING, message, **_progress(progress))


def ended(facts: Facts, end: AttemptEnd, max_attempts: int) -> ProjectSetupStatus:
    """The status after `end`, whether written at once or completed from the record after a crash."""
    changes: dict[str, Any] = {
        "attempt": end.attempts_used,
        "max_attempts": max_attempts,
        "project_status": str(end.project_status),
        "next_attempt_at": end.next_attempt_at,
        "run_ref": None,
        "attempts": _with_attempt(facts.resource, end),
        **({"step": end.step, "progress": end.progress} if end.step else {}),
    }
    match end.kind:
        case EndKind.SUCCEEDED:
            total = _total(facts)
            changes |= {"finished_at": end.finished_at, "commits": end.commits, "failure": None, "step": None}
            changes |= {"progress": f"{total}/{total}"} if total else {}
            return _report(facts, "True", end.reason, end.message, **changes)
        case EndKind.FAILED | EndKind.CANCELLED:
            changes |= {"finished_at": end.finished_at, "failure": end.failure or facts.resource.status.failure}
            return _report(facts, "False", end.reason, end.message, **changes)
        case EndKind.RETRY:
            changes |= {"failure": end.failure}
            return _report(facts, "Unknown", end.reason, end.message, **changes)
        case EndKind.RELEASED:
            changes |= {"started_at": None, **_no_step()}
            return _report(facts, "Unknown", end.reason, end.message, **changes)


def refused(facts: Facts, end: AttemptEnd) -> ProjectSetupStatus:
    """A terminal failure that leaves the record alone, since it may not claim the project."""
    project = facts.record.project if isinstance(facts.record, RecordRead) else None
    return _report(
        facts,
        "False",
        end.reason,
        end.message,
        project_status=str(project.status) if project else None,
        failure=end.failure,
        finished_at=end.finished_at,
        next_attempt_at=None,
        run_ref=None,
        **_no_step(),
    )


def already_set_up(facts: Facts, message: str, commits: Commits | None) -> ProjectSetupStatus:
    """The project is ready although nothing of this setup has run."""
    return _report(
        facts,
        "True",
        Reason.ALREADY_SET_UP,
        message,
        project_status=str(ProjectStatus.READY),
        finished_at=facts.now,
        failure=None,
        commits=commits,
        next_attempt_at=None,
        run_ref=None,
        **_no_step(),
    )


def new_series(facts: Facts) -> ProjectSetupStatus:
    """A manual retry was accepted: attempts count from 0 again; the history stays.

    No other series of the resource has its `queuedAt`, which is written in whole seconds and identifies the series.
    """
    next_second = facts.resource.queued_at.replace(microsecond=0) + timedelta(seconds=1)
    return _report(
        facts,
        "Unknown",
        Reason.QUEUED,
        "retry requested; waiting for a free slot",
        attempt=0,
        queued_at=max(facts.now, next_second),
        started_at=None,
        finished_at=None,
        next_attempt_at=None,
        run_ref=None,
        commits=None,
        **_no_step(),
    )


def backing_off(facts: Facts) -> ProjectSetupStatus:
    """It waits for the next attempt, even if it was suspended or waited for the database in between."""
    status = facts.resource.status
    condition = facts.resource.condition
    if condition is not None and condition.reason in {Reason.RETRY_SCHEDULED, Reason.QUEUED}:
        return unchanged(facts)
    why = f"{status.failure.reason}: {status.failure.message}" if status.failure else "reason unknown"
    limit = status.max_attempts or status.attempt
    message = retry_message(status.attempt, limit, why, status.next_attempt_at or facts.now)
    return _report(facts, "Unknown", Reason.RETRY_SCHEDULED, message)


def unchanged(facts: Facts) -> ProjectSetupStatus:
    """The current status, with the generation and the handled annotations up to date as on every path."""
    condition = facts.resource.condition
    if condition is None:
        return _report(facts, "Unknown", Reason.QUEUED, "waiting")
    return _report(facts, condition.status, Reason(condition.reason), condition.message)


def _report(facts: Facts, truth: ConditionStatus, reason: Reason, message: str, **changes: Any) -> ProjectSetupStatus:
    resource = facts.resource
    changes.setdefault("queued_at", resource.queued_at)
    if isinstance(facts.record, RecordRead) and facts.record.project is not None:
        changes["project_name"] = facts.record.project.name
    changes.setdefault("attempt", resource.status.attempt)
    if resource.tuning is not None:
        changes.setdefault("max_attempts", resource.tuning.max_attempts)
    # a cancel, and a retry that came with it, counts as handled only when the setup ends
    if truth != "Unknown" or not resource.cancel_is_new:
        changes |= _handled(resource)
        if truth == "Unknown" and resource.retry_is_new and resource.status.next_attempt_at is not None:
            changes.setdefault("next_attempt_at", facts.now)  # a retry ends the delay but not the series
    if reason is not Reason.DEPENDENCY_MISSING:
        changes["dependency_missing_since"] = None
    status = resource.status.model_copy(update=changes)
    conditions = conditions_for(
        status=truth,
        reason=reason,
        message=message,
        generation=resource.generation,
        previous=resource.status.conditions,
        now=facts.now,
    )
    return status.model_copy(
        update={
            "observed_generation": resource.generation,
            "conditions": conditions,
            "phase": phase_of(conditions, status.run_ref),
        }
    )


def _handled(resource: ProjectSetupResource) -> dict[str, Any]:
    requests = {"last_handled_retry": RETRY_REQUESTED_AT, "last_handled_cancel": CANCEL_REQUESTED_AT}
    return {field: value for field, name in requests.items() if (value := resource.annotations.get(name))}


def _with_attempt(resource: ProjectSetupResource, end: AttemptEnd) -> tuple[AttemptRecord, ...]:
    status = resource.status
    if end.kind is EndKind.RELEASED or status.run_ref is None:
        return status.attempts
    failure = end.failure if end.kind is not EndKind.CANCELLED else None
    record = AttemptRecord(
        number=end.attempt,
        started_at=status.started_at or end.finished_at,
        finished_at=end.finished_at,
        outcome="Failed" if end.kind is EndKind.RETRY else str(end.kind),
        reason=failure.reason if failure else str(end.reason),
        message=failure.message if failure else end.message,
        step=failure.step if failure else None,
    )
    return (*status.attempts, record)[-ATTEMPTS_KEPT:]


def _run_ref(facts: Facts, number: int) -> RunRef:
    """The run of the attempt under the fence of its claim, which is the current fence plus one."""
    project = facts.record.project if isinstance(facts.record, RecordRead) else None
    fence = 1 if project is None else project.fence + 1
    name = run_name(facts.resource.project_id, number, fence, facts.token)
    return RunRef(engine=facts.engine, name=name, id=facts.recipe.digest or f"{facts.resource.uid}-{fence}")


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "project_status": progress.project_status,
        "step": progress.step,
        "progress": str(progress),
    }


def reported_progress(status: ProjectSetupStatus) -> Progress:
    """Return the progress that `.status` reports of its attempt."""
    completed, _, total = (status.progress or "").partition("/")
    numbers = (int(completed), int(total)) if completed.isdecimal() and total.isdecimal() else (0, 0)
    return Progress(status.project_status or "", status.step or "", *numbers)


def _no_step() -> dict[str, Any]:
    return {"step": None, "progress": None}


def _total(facts: Facts) -> int:
    reported = facts.resource.status.progress
    return int(reported.partition("/")[2]) if reported else facts.recipe.total


def _step_message(number: int, limit: int, step: str, completed: int, total: int) -> str:
    return f"attempt {number} of {limit}: step {step} ({completed + 1} of {total})"
