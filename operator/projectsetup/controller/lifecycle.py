"""The life of a ProjectSetup as one pure function from facts to the next decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeGuard

from projectsetup.api.annotations import Tuning
from projectsetup.api.durations import format_duration
from projectsetup.api.models import ProjectSetupResource, ProjectSetupStatus, RunRef
from projectsetup.api.reasons import EventReason, Reason
from projectsetup.controller import status
from projectsetup.controller.claims import (
    ClaimRefusal,
    claim_refusal,
    commits_of_ready,
    difference,
    spec_difference,
)
from projectsetup.controller.decisions import (
    AdoptAttempt,
    AnnounceStart,
    AwaitDependency,
    CreateProject,
    Decision,
    RecordEnd,
    ReleaseClaim,
    ReleaseOwner,
    Requeue,
    StartAttempt,
    StartPrepared,
    StepDown,
    StopRun,
    WaitForSlot,
    WriteStatus,
)
from projectsetup.controller.events import Event, events_of_end, requests_ignored, retry_coalesced, started
from projectsetup.controller.facts import PROGRESS_INTERVAL, Facts, RecordRead, RunView
from projectsetup.controller.outcome import (
    LOST_CLAIM,
    AttemptEnd,
    EndKind,
    RunOutcome,
    StopCause,
    end_of_attempt,
    end_without_run,
)
from projectsetup.projects.model import Project, ProjectStatus
from projectsetup.setup.types import InfrastructureError, SetupSucceeded

DATABASE_POLL: Final = timedelta(seconds=30)
"""A ProjectSetup that waits for the database is reconciled again after this time, unless something wakes it earlier."""

_INTERRUPTED: Final = InfrastructureError(
    Reason.INTERRUPTED, "the operator died or lost its leader lease during the attempt"
)


def needs_record(resource: ProjectSetupResource, run: RunView | None) -> bool:
    """Whether a decision about this resource can depend on the project's record."""
    if run is not None:
        return run.outcome is not None
    return not resource.is_over


def decide(facts: Facts) -> Decision:
    """The next thing to do, whatever the trigger was: an event, a process that ended, a restart or a clock."""
    if facts.run is not None:
        outcome = facts.run.outcome
        return _during_attempt(facts, facts.run) if outcome is None else _after_attempt(facts, outcome)
    if facts.resource.is_over:
        return _after_setup(facts)
    if facts.resource.status.run_ref is not None:
        if _is_prepared(facts):
            return StartPrepared()
        if facts.engine_outlives_operator and facts.resource.status.run_ref.engine == facts.engine:
            return _adopt(facts, facts.resource.status.run_ref)
        return _after_attempt(facts, _INTERRUPTED)
    return _before_attempt(facts)


def decide_deleted(run: RunView | None) -> StopRun | Requeue | ReleaseClaim:
    """The next thing to do for a deleted ProjectSetup: stop what runs, then release the project."""
    if run is None:
        return ReleaseClaim()
    if run.outcome is None:
        return Requeue() if run.stopping is not None else StopRun(StopCause.DELETED)
    succeeded = isinstance(run.outcome, SetupSucceeded)
    return ReleaseClaim(ready_fence=run.fence if succeeded else None)


def _during_attempt(facts: Facts, run: RunView) -> Decision:
    if run.stopping is None:
        if facts.resource.cancel_is_new:
            return StopRun(StopCause.CANCEL)
        if facts.resource.spec is not None and facts.resource.spec.suspend:
            return StopRun(StopCause.SUSPEND)
    announce_at = run.announce_at
    if announce_at is not None and announce_at <= facts.now:
        return AnnounceStart((started(facts.resource.status),))
    new = status.running(facts, run.progress)
    if new == facts.resource.status:
        return Requeue(announce_at)
    if facts.last_progress_write is not None and facts.last_progress_write + PROGRESS_INTERVAL > facts.now:
        write_at = facts.last_progress_write + PROGRESS_INTERVAL
        return Requeue(write_at if announce_at is None else min(write_at, announce_at))
    return WriteStatus(new, retry_coalesced(facts.resource), until=announce_at)


def _adopt(facts: Facts, run: RunRef) -> Decision:
    """Adopt the attempt that another operator left running, unless its end is recorded already."""
    if not isinstance(facts.record, RecordRead):
        return Requeue(until=facts.now + DATABASE_POLL)
    current, project = facts.resource.status, facts.record.project
    number = current.attempt or 1
    recorded = _recorded_end(facts, project)
    if recorded is not None and recorded.attempt == number:
        return _complete(facts, recorded)
    if not _is_ours(project, facts) or _refusal(facts, project) is not None:
        return _refuse(facts, project, attempt=number)
    progress = replace(status.reported_progress(current), project_status=str(project.status))
    return AdoptAttempt(number, run, progress)


def _after_attempt(facts: Facts, outcome: RunOutcome) -> Decision:
    """An attempt that `.status` reports has ended: write its end, or complete `.status` from the record."""
    if not isinstance(facts.record, RecordRead):
        return Requeue(until=facts.now + DATABASE_POLL)
    project = facts.record.project
    number = facts.run.attempt if facts.run else facts.resource.status.attempt or 1
    recorded = _recorded_end(facts, project)
    if recorded is not None and recorded.attempt == number:
        return _complete(facts, recorded)
    if not _is_ours(project, facts):
        return _refuse(facts, project, attempt=number)
    if facts.run is not None and facts.run.fence != project.fence:
        return StepDown(f"another operator has claimed project {facts.resource.name}")
    return _record_end(facts, _end_of_attempt(facts, number, outcome), fence=project.fence)


def _after_setup(facts: Facts) -> Decision:
    resource = facts.resource
    ignored = requests_ignored(resource)
    if resource.retry_is_new and not ignored:
        event = Event(EventReason.RETRY_REQUESTED, "retry requested; starting a new series of attempts")
        return WriteStatus(status.new_series(facts), (event,), until=facts.now)
    if ignored or resource.status.observed_generation != resource.generation:
        return WriteStatus(status.unchanged(facts), ignored)
    return Requeue()


def _before_attempt(facts: Facts) -> Decision:
    spec = facts.resource.spec
    if spec is not None and spec.suspend and not facts.resource.cancel_is_new:
        return _report(facts, status.suspended(facts))
    if not isinstance(facts.record, RecordRead):
        why = facts.record.message if facts.record else "not queried yet"
        return _report(facts, status.database_unavailable(facts, why), until=facts.now + DATABASE_POLL)
    project = facts.record.project
    return _end_before_attempt(facts, project) or _start_or_wait(facts, project, facts.resource.tuning or Tuning())


def _end_before_attempt(facts: Facts, project: Project | None) -> Decision | None:
    """What ends the setup although nothing of it runs; None if it may start."""
    recorded = _recorded_end(facts, project)
    if recorded is not None and recorded.kind is EndKind.SUCCEEDED:
        return _complete(facts, recorded)
    if facts.resource.cancel_is_new:
        return _end_without_run(facts, project, EndKind.CANCELLED, Reason.CANCELLED, "cancelled before it started")
    refusal = _refusal(facts, project)
    if facts.resource.problem is not None and not _is_foreign(refusal):
        return _end_without_run(facts, project, EndKind.FAILED, Reason.INVALID_SPEC, facts.resource.problem)
    if (decision := _project_of_spec(facts, project)) is not None:
        return decision
    if refusal is not None:
        return _already_set_up(facts, project) or _refuse(facts, project, attempt=facts.resource.status.attempt)
    return _end_for_inputs(facts, project)


def _end_for_inputs(facts: Facts, project: Project | None) -> Decision | None:
    if facts.input_problem is None:
        return None
    return _end_without_run(facts, project, EndKind.FAILED, Reason.INVALID_SPEC, facts.input_problem)


def _project_of_spec(facts: Facts, project: Project | None) -> Decision | None:
    """Create the project of `spec.project`, or end if it cannot be created or differs from the project that exists."""
    wanted = facts.resource.spec.project if facts.resource.spec else None
    if wanted is None or not isinstance(facts.record, RecordRead):
        return None
    if project is not None:
        differs = spec_difference(wanted, project)
        return None if differs is None else _end_unclaimed(facts, Reason.INVALID_SPEC, differs)
    if facts.record.exists:
        return None
    if not facts.projects_from_spec:
        message = f"project {facts.resource.name} does not exist, and this operator does not create projects from spec"
        return _end_unclaimed(facts, Reason.PROJECT_NOT_FOUND, f"{message} (PROJECTSETUP_PROJECTS_FROM_SPEC is false)")
    if facts.creation_problem is not None:
        return _end_unclaimed(facts, Reason.INVALID_SPEC, f"spec.project: {facts.creation_problem}")
    return CreateProject(wanted)


def _already_set_up(facts: Facts, project: Project | None) -> WriteStatus | None:
    """End without a run if another ProjectSetup, perhaps a deleted one, made the project ready; the record stays."""
    if project is None or project.status is not ProjectStatus.READY or _is_foreign(_refusal(facts, project)):
        return None
    differs = difference(facts.resource, project)
    if differs is None:
        message = "the project is already set up; nothing to run"
        new = status.already_set_up(facts, message, commits_of_ready(facts.resource, project))
        return WriteStatus(new, (Event(EventReason.SUCCEEDED, message), *retry_coalesced(facts.resource)))
    return _end_unclaimed(facts, Reason.PROJECT_INVALID_STATE, f"the project is already set up with {differs}")


def _start_or_wait(facts: Facts, project: Project | None, tuning: Tuning) -> Decision:
    resource, current = facts.resource, facts.resource.status
    if current.attempt >= tuning.max_attempts:
        message = f"all {current.attempt} attempts were used (limit {tuning.max_attempts})"
        return _end_without_run(facts, project, EndKind.FAILED, Reason.ATTEMPTS_EXHAUSTED, message)
    if current.next_attempt_at is not None and current.next_attempt_at > facts.now:
        if resource.retry_is_new:
            return WriteStatus(status.unchanged(facts), retry_coalesced(resource), until=facts.now)
        return _report(facts, status.backing_off(facts), until=current.next_attempt_at)
    if facts.missing_dependency is not None:
        return _await_dependency(facts, project, facts.missing_dependency)
    if not facts.slot:
        return WaitForSlot(status.queued(facts), retry_coalesced(resource))
    number = current.attempt + 1
    new = status.starting(facts, number, tuning.max_attempts)
    return StartAttempt(number, facts.recipe.first_status, new, retry_coalesced(resource))


def _await_dependency(facts: Facts, project: Project | None, missing: str) -> Decision:
    """Wait without a slot until the limit, which counts from the time in `.status` and so survives a restart."""
    since = facts.resource.status.dependency_missing_since or facts.now
    until = since + facts.dependency_limit
    if until <= facts.now:
        message = f"{missing}; gave up waiting after {format_duration(facts.dependency_limit)}"
        return _end_without_run(facts, project, EndKind.FAILED, Reason.INVALID_SPEC, message)
    new = status.dependency_missing(facts, missing, since, until)
    is_new = facts.resource.status.dependency_missing_since is None
    event = (Event(EventReason.DEPENDENCY_MISSING, missing, warning=True),) if is_new else ()
    return AwaitDependency(new, until, (*retry_coalesced(facts.resource), *event))


def _report(facts: Facts, new: ProjectSetupStatus, *, until: datetime | None = None) -> Requeue | WriteStatus:
    if new == facts.resource.status:
        return Requeue(until)
    return WriteStatus(new, retry_coalesced(facts.resource), until=until)


def _end_of_attempt(facts: Facts, number: int, outcome: RunOutcome) -> AttemptEnd:
    end = end_of_attempt(facts.resource, number, outcome, now=facts.now, jitter=facts.jitter)
    if facts.run is None:
        return end
    progress = facts.run.progress
    return end.model_copy(update={"step": progress.step, "progress": str(progress)})


def _record_end(facts: Facts, end: AttemptEnd, *, fence: int | None = None) -> RecordEnd:
    new = status.ended(facts, end, _limit(facts))
    return RecordEnd(end, fence, new, events_of_end(facts.resource, end))


def _complete(facts: Facts, recorded: AttemptEnd) -> WriteStatus:
    continues = recorded.kind in {EndKind.RETRY, EndKind.RELEASED}
    new = status.ended(facts, recorded, _limit(facts))
    return WriteStatus(new, events_of_end(facts.resource, recorded), until=facts.now if continues else None)


def _end_without_run(
    facts: Facts, project: Project | None, kind: EndKind, reason: Reason, message: str
) -> WriteStatus | RecordEnd:
    end = end_without_run(facts.resource, kind, reason, message, facts.now)
    if _refusal(facts, project) is not None:
        return WriteStatus(status.refused(facts, end), events_of_end(facts.resource, end))
    return _record_end(facts, end)


def _end_unclaimed(facts: Facts, reason: Reason, message: str) -> WriteStatus:
    end = end_without_run(facts.resource, EndKind.FAILED, reason, message, facts.now)
    return WriteStatus(status.refused(facts, end), events_of_end(facts.resource, end))


def _refuse(facts: Facts, project: Project | None, *, attempt: int) -> Decision:
    refusal = _refusal(facts, project)
    if refusal is None:  # it held the claim, which was released: the attempt no longer owns the project
        return _record_end(facts, _end_of_attempt(facts, attempt, LOST_CLAIM))
    if refusal.owner is not None and not facts.owner_is_active:
        return ReleaseOwner(refusal.owner)
    return _end_unclaimed(facts, refusal.reason, refusal.message)


def _refusal(facts: Facts, project: Project | None) -> ClaimRefusal | None:
    hidden = facts.record.hidden if isinstance(facts.record, RecordRead) else None
    return hidden or claim_refusal(facts.resource, project)


def _is_foreign(refusal: ClaimRefusal | None) -> bool:
    """Whether the project belongs to another namespace, whoever owns its claim."""
    return refusal is not None and refusal.reason is Reason.PROJECT_CLAIMED and refusal.owner is None


def _is_prepared(facts: Facts) -> bool:
    """Whether `.status` reports an attempt that this operator has prepared but not started."""
    project = facts.record.project if isinstance(facts.record, RecordRead) else None
    return project is not None and facts.prepared_fence is not None and project.fence == facts.prepared_fence


def _recorded_end(facts: Facts, project: Project | None) -> AttemptEnd | None:
    """How our last attempt ended, as the record says.

    A request to set the project up again removes the owner. If `.status` still reports an attempt then, the result is
    that of this attempt: its claim has cleared any older one.
    """
    if project is None or not project.attempt_result:
        return None
    requested_again = project.owner is None and facts.resource.status.run_ref is not None
    if not (_is_ours(project, facts) or requested_again):
        return None
    return AttemptEnd.from_result(project.attempt_result)


def _is_ours(project: Project | None, facts: Facts) -> TypeGuard[Project]:
    return project is not None and project.owner is not None and project.owner.uid == facts.resource.uid


def _limit(facts: Facts) -> int:
    return facts.resource.tuning.max_attempts if facts.resource.tuning else facts.resource.status.max_attempts or 1
