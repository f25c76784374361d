"""What the history says of an attempt that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from projectsetup.api.models import Commits, Failure, ProjectSetupResource, ProjectSetupStatus
from projectsetup.api.reasons import AttemptOutcome, Reason
from projectsetup.api.steps import StepTime
from projectsetup.controller.facts import Origin
from projectsetup.controller.outcome import AttemptEnd, EndKind, RunOutcome
from projectsetup.projects.history import PastAttempt
from projectsetup.setup.types import InfrastructureError, SetupFailed, SetupSucceeded
from projectsetup.version import version


def origin_of(resource: ProjectSetupResource, status: ProjectSetupStatus, recipe_digest: str | None) -> Origin:
    """The origin of the attempt that `status` reports."""
    return Origin(
        namespace=resource.namespace,
        uid=resource.uid,
        run_name=status.run_ref.name if status.run_ref else None,
        queued_at=status.queued_at,
        started_at=status.started_at or datetime.now(UTC),
        recipe=resource.recipe,
        recipe_digest=recipe_digest,
    )


def past_attempt(end: AttemptEnd, origin: Origin, steps: Sequence[StepTime], engine: str) -> PastAttempt:
    """The attempt that ended with `end`, in the words of `.status.attempts`."""
    failure = end.failure if end.kind in {EndKind.FAILED, EndKind.RETRY} else None
    return PastAttempt(
        attempt=end.attempt,
        outcome=AttemptOutcome.FAILED if end.kind is EndKind.RETRY else str(end.kind),
        reason=failure.reason if failure else str(end.reason),
        message=failure.message if failure else end.message,
        finished_at=end.finished_at,
        started_at=origin.started_at,
        queued_at=origin.queued_at,
        namespace=origin.namespace,
        setup_uid=origin.uid,
        run_name=origin.run_name,
        step=failure.step if failure else None,
        exit_code=failure.exit_code if failure else None,
        steps=[step.to_dict() for step in steps],
        code_commit=end.commits.code_repo if end.commits else None,
        docs_commit=end.commits.docs_repo if end.commits else None,
        recipe=origin.recipe,
        recipe_digest=origin.recipe_digest,
        engine=engine,
        operator_version=version(),
    )


def end_of_deleted(number: int, outcome: RunOutcome | None, now: datetime) -> AttemptEnd:
    """How attempt `number` ended whose ProjectSetup was deleted while it ran."""
    kind, reason, failure, commits = EndKind.CANCELLED, Reason.CANCELLED, None, None
    message = "stopped by the deletion of its ProjectSetup"
    match outcome:
        case SetupSucceeded():
            kind, reason = EndKind.SUCCEEDED, Reason.SETUP_SUCCEEDED
            message = f"the project was set up in attempt {number}"
            commits = Commits(code_repo=outcome.code_commit, docs_repo=outcome.docs_commit)
        case SetupFailed() | InfrastructureError():
            kind, message = EndKind.FAILED, outcome.message
            reason = outcome.reason if isinstance(outcome, InfrastructureError) else Reason.STEP_FAILED
            failure = Failure(
                reason=reason, message=message, step=outcome.step, exit_code=outcome.exit_code, retryable=False
            )
        case _:
            pass
    return AttemptEnd(
        kind=kind, attempt=number, reason=reason, message=message, finished_at=now, failure=failure, commits=commits
    )
