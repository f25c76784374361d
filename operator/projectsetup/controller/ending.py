"""How an attempt ends: from its outcome, the limit and the backoff to one `AttemptEnd`, and what is told of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from projectsetup.api.models import Commits, Failure
from projectsetup.api.reasons import EventReason, Reason
from projectsetup.controller.attempt_end import AttemptEnd, EndKind
from projectsetup.controller.backoff import retry_delay
from projectsetup.controller.decisions import Notice
from projectsetup.controller.facts import AttemptStopped, Facts, RunOutcome, StopCause
from projectsetup.setup.errors import InfrastructureError, NotStarted
from projectsetup.setup.message import cut
from projectsetup.setup.outcome import SetupFailed, SetupSucceeded

DATABASE_POLL = timedelta(seconds=30)
"""When an object that waits for the database looks again, should nothing wake it earlier."""

DEFERRAL = timedelta(seconds=30)
"""Until an attempt that could not start is tried again; meanwhile it holds no slot."""

LOST_CLAIM = InfrastructureError(Reason.INTERRUPTED, "the claim on the project was taken away while the attempt ran")


def end_of_attempt(facts: Facts, number: int, outcome: RunOutcome, *, cancelled: bool) -> AttemptEnd:
    """The end of attempt `number`. A business failure or success stands even when a stop was asked for meanwhile."""
    end = _end(facts, number, outcome, cancelled=cancelled)
    if facts.run is None:
        return end
    progress = facts.run.progress
    return end.model_copy(update={"step": progress.step, "progress": str(progress)})


def _end(facts: Facts, number: int, outcome: RunOutcome, *, cancelled: bool) -> AttemptEnd:
    match outcome:
        case SetupSucceeded():
            commits = Commits(code_repo=outcome.code_commit, docs_repo=outcome.docs_commit)
            pushed = any((outcome.code_commit, outcome.docs_commit))
            spec = facts.resource.spec
            return AttemptEnd(
                kind=EndKind.SUCCEEDED,
                attempt=number,
                reason=Reason.SETUP_SUCCEEDED,
                message=f"the project was set up in attempt {number}",
                finished_at=facts.now,
                commits=commits if pushed else None,
                recipe=spec.recipe if spec else None,
                parameters=dict(spec.parameters) if spec else None,
            )
        case SetupFailed():
            failure = Failure(
                reason=Reason.STEP_FAILED,
                message=outcome.message,
                step=outcome.step,
                exit_code=outcome.exit_code,
                retryable=False,
            )
            return _failed(facts, number, Reason.STEP_FAILED, outcome.message, failure)
        case AttemptStopped() if not cancelled:
            return _returned(facts, number, outcome.cause)
        case AttemptStopped() | InfrastructureError() if cancelled:
            return _cancelled(facts, number)
        case NotStarted():
            return _deferred(facts, number, outcome.message)
        case InfrastructureError():
            return _retry_or_exhausted(facts, number, outcome)
    raise AssertionError(f"unknown outcome {outcome!r}")


def end_without_a_run(facts: Facts, kind: EndKind, reason: Reason, message: str) -> AttemptEnd:
    """A terminal end of a setup while none of its attempts runs."""
    failure = None
    if kind is EndKind.FAILED and reason is not Reason.ATTEMPTS_EXHAUSTED:
        failure = Failure(reason=reason, message=message, retryable=False)
    return AttemptEnd(
        kind=kind,
        attempt=facts.resource.status.attempt,
        reason=reason,
        message=message,
        finished_at=facts.now,
        failure=failure,
    )


def retry_message(number: int, limit: int, why: str, due: datetime) -> str:
    """What is told of a retryable failure of attempt `number` while the next one is not due."""
    return f"attempt {number} of {limit}: {why}; next at {due:%H:%M:%S} UTC"


def notices(end: AttemptEnd) -> tuple[Notice, ...]:
    """The event that tells this end, if it is worth one."""
    match end.kind:
        case EndKind.SUCCEEDED:
            return (Notice(EventReason.SUCCEEDED, end.message),)
        case EndKind.FAILED:
            return (Notice(EventReason.FAILED, f"{end.reason}: {end.message}", warning=True),)
        case EndKind.CANCELLED:
            return (Notice(EventReason.CANCELLED, end.message),)
        case EndKind.RETRY:
            return (Notice(EventReason.RETRY_SCHEDULED, end.message, warning=True),)
        case EndKind.RETURNED:
            return ()


def _failed(facts: Facts, number: int, reason: Reason, message: str, failure: Failure) -> AttemptEnd:
    return AttemptEnd(
        kind=EndKind.FAILED,
        attempt=number,
        reason=reason,
        message=message,
        finished_at=facts.now,
        failure=failure,
    )


def _cancelled(facts: Facts, number: int) -> AttemptEnd:
    return AttemptEnd(
        kind=EndKind.CANCELLED,
        attempt=number,
        reason=Reason.CANCELLED,
        message=f"cancelled while attempt {number} ran: all its processes are gone",
        finished_at=facts.now,
    )


def _returned(facts: Facts, number: int, cause: StopCause) -> AttemptEnd:
    suspended = facts.resource.spec is not None and facts.resource.spec.suspend
    why = "suspended by spec.suspend: nothing is started" if suspended else f"attempt {number} was given back: {cause}"
    return AttemptEnd(
        kind=EndKind.RETURNED,
        attempt=number,
        reason=Reason.SUSPENDED if suspended else Reason.QUEUED,
        message=why,
        finished_at=facts.now,
    )


def _deferred(facts: Facts, number: int, why: str) -> AttemptEnd:
    due = _whole_second(facts.now + DEFERRAL)
    return AttemptEnd(
        kind=EndKind.RETURNED,
        attempt=number,
        reason=Reason.QUEUED,
        message=cut(f"attempt {number} could not start and does not count, next try at {due:%H:%M:%S} UTC: {why}"),
        finished_at=facts.now,
        next_attempt_at=due,
    )


def _retry_or_exhausted(facts: Facts, number: int, outcome: InfrastructureError) -> AttemptEnd:
    failure = Failure(
        reason=outcome.reason,
        message=outcome.message,
        step=outcome.step,
        exit_code=outcome.exit_code,
        retryable=True,
    )
    tuning = facts.resource.tuning
    if tuning is None:
        problem = facts.resource.problem or "the resource cannot be read"
        return _failed(facts, number, Reason.INVALID_SPEC, problem, failure)
    if number >= tuning.max_attempts:
        message = f"all {number} attempts were used; the last: {outcome.reason}: {outcome.message}"
        return _failed(facts, number, Reason.ATTEMPTS_EXHAUSTED, message, failure)
    delay = retry_delay(number, backoff=tuning.backoff, backoff_max=tuning.backoff_max, luck=facts.luck)
    due = _whole_second(facts.now + delay)
    message = retry_message(number, tuning.max_attempts, f"{outcome.reason}: {outcome.message}", due)
    return AttemptEnd(
        kind=EndKind.RETRY,
        attempt=number,
        reason=Reason.RETRY_SCHEDULED,
        message=message,
        finished_at=facts.now,
        failure=failure,
        next_attempt_at=due,
    )


def _whole_second(time: datetime) -> datetime:
    """Rounded up, as `.status` tells it, so that message and `nextAttemptAt` say the same."""
    return time if time.microsecond == 0 else time.replace(microsecond=0) + timedelta(seconds=1)
