"""The life of a ProjectSetup as one pure function from facts to the next decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TypeGuard

from projectsetup.api.annotations import Tuning
from projectsetup.api.durations import format_duration
from projectsetup.api.models import ProjectSetupResource, ProjectSetupStatus, RunRef
from projectsetup.api.reasons import EventReason, Reason
from projectsetup.controller import already, ending, statuses
from projectsetup.controller.attempt_end import AttemptEnd, EndKind
from projectsetup.controller.claimability import ClaimRefusal, claim_refusal
from projectsetup.controller.decisions import (
    AdoptAttempt,
    AwaitDependency,
    BeginAttempt,
    Decision,
    Notice,
    RecordEnd,
    ReleaseClaim,
    ReleaseOwner,
    Rest,
    StandInLine,
    StartAttempt,
    StepDown,
    StopRun,
    WriteStatus,
)
from projectsetup.controller.facts import (
    PROGRESS_INTERVAL,
    Facts,
    RecordRead,
    RunOutcome,
    RunView,
    StopCause,
)
from projectsetup.controller.requests import after_the_end, coalesced, unheard
from projectsetup.projects.model import Project, ProjectStatus
from projectsetup.setup.errors import InfrastructureError
from projectsetup.setup.outcome import SetupSucceeded


def needs_record(resource: ProjectSetupResource, run: RunView | None) -> bool:
    """Whether a decision about this resource can depend on the project's record."""
    if run is not None:
        return run.outcome is not None
    return not resource.is_over


def decide(facts: Facts) -> Decision:
    """The one next thing to do, whatever brought us here: an event, a finished process, a restart or a clock."""
    if facts.run is not None:
        return _over(facts, facts.run.outcome) if facts.run.outcome is not None else _while_running(facts, facts.run)
    if facts.resource.is_over:
        return _after_the_end(facts)
    if facts.resource.status.run_ref is not None:
        if _is_prepared(facts):
            return BeginAttempt(_started(facts))
        if facts.engine_outlives_operator and facts.resource.status.run_ref.engine == facts.engine:
            return _left_running(facts, facts.resource.status.run_ref)
        return _over(facts, InfrastructureError(Reason.INTERRUPTED, "the operator died or lost its lease while it ran"))
    return _before_a_start(facts)


def _while_running(facts: Facts, run: RunView) -> Decision:
    if run.stopping is None:
        if facts.resource.cancel_is_new:
            return StopRun(StopCause.CANCEL)
        if facts.resource.spec is not None and facts.resource.spec.suspend:
            return StopRun(StopCause.SUSPEND)
    status = statuses.running(facts, run.progress)
    if status == facts.resource.status:
        return Rest()
    if facts.last_progress_write is not None and facts.last_progress_write + PROGRESS_INTERVAL > facts.now:
        return Rest(until=facts.last_progress_write + PROGRESS_INTERVAL)
    return WriteStatus(status, coalesced(facts.resource))


def _left_running(facts: Facts, run: RunRef) -> Decision:
    """An operator that is no more has left an attempt running: follow it, unless its end is told already."""
    if not isinstance(facts.record, RecordRead):
        return Rest(until=facts.now + ending.DATABASE_POLL)
    status, project = facts.resource.status, facts.record.project
    number = status.attempt or 1
    recorded = _recorded_end(facts, project)
    if recorded is not None and recorded.attempt == number:
        return _complete(facts, recorded)
    if not _is_ours(project, facts) or _refusal(facts, project) is not None:
        return _refuse(facts, project, attempt=number)
    return AdoptAttempt(number, run, replace(statuses.reported_progress(status), project_status=str(project.status)))


def _over(facts: Facts, outcome: RunOutcome) -> Decision:
    """An attempt that `.status` tells as running is over: write its end, or complete `.status` from the record."""
    if not isinstance(facts.record, RecordRead):
        return Rest(until=facts.now + ending.DATABASE_POLL)
    project = facts.record.project
    number = facts.run.attempt if facts.run else facts.resource.status.attempt or 1
    recorded = _recorded_end(facts, project)
    if recorded is not None and recorded.attempt == number:
        return _complete(facts, recorded)
    if not _is_ours(project, facts):
        return _refuse(facts, project, attempt=number)
    if facts.run is not None and facts.run.fence != project.fence:
        return StepDown(f"another operator has moved on the fence of project {facts.resource.name}")
    end = ending.end_of_attempt(facts, number, outcome, cancelled=facts.resource.cancel_is_new)
    return RecordEnd(end, project.fence, statuses.ended(facts, end, _limit(facts)), _notices(facts, end))


def _recorded_end(facts: Facts, project: Project | None) -> AttemptEnd | None:
    if not _is_ours(project, facts) or not project.attempt_result:
        return None
    return AttemptEnd.from_result(project.attempt_result)


def _is_ours(project: Project | None, facts: Facts) -> TypeGuard[Project]:
    return project is not None and project.owner is not None and project.owner.uid == facts.resource.uid


def _complete(facts: Facts, recorded: AttemptEnd) -> WriteStatus:
    goes_on = recorded.kind in {EndKind.RETRY, EndKind.RETURNED}
    status = statuses.ended(facts, recorded, _limit(facts))
    return WriteStatus(status, _notices(facts, recorded), until=facts.now if goes_on else None)


def _after_the_end(facts: Facts) -> Decision:
    notices = after_the_end(facts.resource)
    if facts.resource.retry_is_new and not notices:
        notice = Notice(EventReason.RETRY_REQUESTED, "a new series of attempts begins: a retry was asked for")
        return WriteStatus(statuses.new_series(facts), (notice,), until=facts.now)
    if notices or facts.resource.status.observed_generation != facts.resource.generation:
        return WriteStatus(statuses.unchanged(facts), notices)
    return Rest()


def _before_a_start(facts: Facts) -> Decision:
    spec = facts.resource.spec
    if spec is not None and spec.suspend and not facts.resource.cancel_is_new:
        return _tell(facts, statuses.suspended(facts))
    if not isinstance(facts.record, RecordRead):
        why = facts.record.message if facts.record else "it was not asked yet"
        return _tell(facts, statuses.database_unavailable(facts, why), until=facts.now + ending.DATABASE_POLL)
    project = facts.record.project
    return _end_before_a_start(facts, project) or _start_or_wait(facts, project, facts.resource.tuning or Tuning())


def _end_before_a_start(facts: Facts, project: Project | None) -> Decision | None:
    """What ends the setup although nothing of it runs; None when it may start."""
    recorded = _recorded_end(facts, project)
    if recorded is not None and recorded.kind is EndKind.SUCCEEDED:
        return _complete(facts, recorded)
    if facts.resource.cancel_is_new:
        return _end_without_a_run(
            facts, project, EndKind.CANCELLED, Reason.CANCELLED, "cancelled before it was started"
        )
    refusal = _refusal(facts, project)
    if facts.resource.problem is not None and not _is_foreign(refusal):
        return _end_without_a_run(facts, project, EndKind.FAILED, Reason.INVALID_SPEC, facts.resource.problem)
    if refusal is not None:
        return _already_set_up(facts, project) or _refuse(facts, project, attempt=facts.resource.status.attempt)
    if facts.input_problem is None:
        return None
    return _end_without_a_run(facts, project, EndKind.FAILED, Reason.INVALID_SPEC, facts.input_problem)


def _already_set_up(facts: Facts, project: Project | None) -> WriteStatus | None:
    """Where the project is ready, by another ProjectSetup or one that was deleted, nothing runs, the record stays."""
    if project is None or project.status is not ProjectStatus.READY or _is_foreign(_refusal(facts, project)):
        return None
    differs = already.difference(facts.resource, project)
    if differs is None:
        message = "the project is ready already: nothing had to run"
        status = statuses.already_set_up(facts, message, already.done_commits(facts.resource, project))
        return WriteStatus(status, (Notice(EventReason.SUCCEEDED, message), *coalesced(facts.resource)))
    message = f"the project is ready: {differs}"
    end = ending.end_without_a_run(facts, EndKind.FAILED, Reason.PROJECT_INVALID_STATE, message)
    return WriteStatus(statuses.refused(facts, end), _notices(facts, end))


def _start_or_wait(facts: Facts, project: Project | None, tuning: Tuning) -> Decision:
    status = facts.resource.status
    attempt = status.attempt
    if attempt >= tuning.max_attempts:
        message = f"all {attempt} attempts were used (limit {tuning.max_attempts})"
        return _end_without_a_run(facts, project, EndKind.FAILED, Reason.ATTEMPTS_EXHAUSTED, message)
    if status.next_attempt_at is not None and status.next_attempt_at > facts.now:
        if facts.resource.retry_is_new:
            return WriteStatus(statuses.unchanged(facts), coalesced(facts.resource), until=facts.now)
        return _tell(facts, statuses.backing_off(facts), until=status.next_attempt_at)
    if facts.missing_dependency is not None:
        return _await_dependency(facts, project, facts.missing_dependency)
    if not facts.slot:
        return StandInLine(statuses.queued(facts), coalesced(facts.resource))
    number = attempt + 1
    status = statuses.starting(facts, number, tuning.max_attempts)
    return StartAttempt(
        number, facts.recipe.first_status, status, (*coalesced(facts.resource), *_started(facts, number))
    )


def _await_dependency(facts: Facts, project: Project | None, missing: str) -> Decision:
    """Wait for it, without a slot, until the limit; that is counted from `.status`, so it outlives the operator."""
    since = facts.resource.status.dependency_missing_since or facts.now
    until = since + facts.dependency_limit
    if until <= facts.now:
        message = f"{missing}; waited {format_duration(facts.dependency_limit)} for it"
        return _end_without_a_run(facts, project, EndKind.FAILED, Reason.INVALID_SPEC, message)
    status = statuses.dependency_missing(facts, missing, since, until)
    is_new = facts.resource.status.dependency_missing_since is None
    notice = (Notice(EventReason.DEPENDENCY_MISSING, missing, warning=True),) if is_new else ()
    return AwaitDependency(status, until, (*coalesced(facts.resource), *notice))


def _started(facts: Facts, number: int | None = None) -> tuple[Notice, ...]:
    text = f"attempt {number or facts.resource.status.attempt} of {_limit(facts)} started"
    return (Notice(EventReason.STARTED, text),)


def _is_prepared(facts: Facts) -> bool:
    """Whether the attempt that `.status` tells is one that this operator has prepared and not started."""
    project = facts.record.project if isinstance(facts.record, RecordRead) else None
    return project is not None and facts.prepared_fence is not None and project.fence == facts.prepared_fence


def _tell(facts: Facts, status: ProjectSetupStatus, *, until: datetime | None = None) -> Rest | WriteStatus:
    return (
        Rest(until) if status == facts.resource.status else WriteStatus(status, coalesced(facts.resource), until=until)
    )


def _end_without_a_run(
    facts: Facts, project: Project | None, kind: EndKind, reason: Reason, message: str
) -> WriteStatus | RecordEnd:
    end = ending.end_without_a_run(facts, kind, reason, message)
    if _refusal(facts, project) is not None:
        return WriteStatus(statuses.refused(facts, end), _notices(facts, end))
    return RecordEnd(end, None, statuses.ended(facts, end, _limit(facts)), _notices(facts, end))


def _refuse(facts: Facts, project: Project | None, *, attempt: int) -> Decision:
    refusal = _refusal(facts, project)
    if refusal is None:  # it was ours, the claim was released: the attempt no longer speaks for the project
        end = ending.end_of_attempt(facts, attempt, ending.LOST_CLAIM, cancelled=facts.resource.cancel_is_new)
        return RecordEnd(end, None, statuses.ended(facts, end, _limit(facts)), _notices(facts, end))
    if refusal.owner is not None and not facts.owner_is_active:
        return ReleaseOwner(refusal.owner)
    end = ending.end_without_a_run(facts, EndKind.FAILED, refusal.reason, refusal.message)
    return WriteStatus(statuses.refused(facts, end), _notices(facts, end))


def _notices(facts: Facts, end: AttemptEnd) -> tuple[Notice, ...]:
    return (*ending.notices(end), *unheard(facts.resource, end))


def _refusal(facts: Facts, project: Project | None) -> ClaimRefusal | None:
    hidden = facts.record.hidden if isinstance(facts.record, RecordRead) else None
    return hidden or claim_refusal(facts.resource, project)


def _is_foreign(refusal: ClaimRefusal | None) -> bool:
    """Whether the project belongs to another namespace, whoever owns its setup."""
    return refusal is not None and refusal.reason is Reason.PROJECT_CLAIMED and refusal.owner is None


def _limit(facts: Facts) -> int:
    return facts.resource.tuning.max_attempts if facts.resource.tuning else facts.resource.status.max_attempts or 1


def decide_gone(run: RunView | None) -> StopRun | Rest | ReleaseClaim:
    """The next thing to do for a ProjectSetup that was deleted: stop what runs, then free the project."""
    if run is None:
        return ReleaseClaim()
    if run.outcome is None:
        return Rest() if run.stopping is not None else StopRun(StopCause.DELETED)
    succeeded = isinstance(run.outcome, SetupSucceeded)
    return ReleaseClaim(ready_fence=run.fence if succeeded else None)
