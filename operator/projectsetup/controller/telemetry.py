"""What the metrics are told: what a written `.status` changed, and what is true when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from datetime import UTC, datetime
from typing import Final

from projectsetup.api.models import ProjectSetupResource, ProjectSetupStatus
from projectsetup.api.reasons import (
    OVER,
    RETRYABLE,
    SUCCESSES,
    TERMINAL_FAILURES,
    AttemptOutcome,
    EventReason,
    Phase,
    Reason,
)
from projectsetup.api.status import RECONCILING, succeeded_condition
from projectsetup.controller.attempt_end import EndKind
from projectsetup.controller.attempts import Attempts
from projectsetup.controller.decisions import Notice
from projectsetup.controller.queue import StartLine
from projectsetup.observe.metrics import Metrics, Moment

PRIORITIES: Final = range(10)

SETUP_ENDS: Final = (
    *((Phase.SUCCEEDED, reason) for reason in sorted(SUCCESSES)),
    (Phase.CANCELLED, Reason.CANCELLED),
    *((Phase.FAILED, reason) for reason in sorted(TERMINAL_FAILURES - {Reason.CANCELLED})),
)
"""How a setup may end: outcome and reason."""

ATTEMPT_ENDS: Final = (
    (AttemptOutcome.SUCCEEDED, Reason.SETUP_SUCCEEDED),
    (AttemptOutcome.CANCELLED, Reason.CANCELLED),
    *((AttemptOutcome.FAILED, reason) for reason in (Reason.STEP_FAILED, *sorted(RETRYABLE))),
    (EndKind.RETURNED, Reason.QUEUED),
    (EndKind.RETURNED, Reason.SUSPENDED),
)
"""How an attempt ends as a rule. One that lost its project meanwhile ends for the reason of its setup."""

RETRY_RESULTS: Final = {
    EventReason.RETRY_REQUESTED: "accepted",
    EventReason.RETRY_COALESCED: "coalesced",
    EventReason.RETRY_IGNORED: "ignored",
}
CANCEL_RESULTS: Final = {EventReason.CANCELLED: "accepted", EventReason.CANCEL_IGNORED: "ignored"}
"""What became of a request, by the event that tells it."""


def count(metrics: Metrics, before: ProjectSetupStatus, after: ProjectSetupStatus, notices: Iterable[Notice]) -> None:
    """Count what ended between two versions of `.status`, and what the notices tell of requests."""
    if (attempt := attempt_end(before, after)) is not None:
        metrics.attempt_ended(*attempt)
    if (setup := setup_end(before, after)) is not None:
        metrics.setup_ended(*setup)
    for notice in notices:
        if notice.reason is EventReason.RETRY_SCHEDULED:
            metrics.retry_scheduled()
        elif notice.reason in RETRY_RESULTS:
            metrics.retry_requested(RETRY_RESULTS[notice.reason])
        elif notice.reason in CANCEL_RESULTS:
            metrics.cancel_requested(CANCEL_RESULTS[notice.reason])


def setup_end(before: ProjectSetupStatus, after: ProjectSetupStatus) -> tuple[str, str] | None:
    """Outcome and reason of the setup that is over in `after` and was not before."""
    if after.phase not in OVER or before.phase in OVER:
        return None
    return str(after.phase), _reason(after)


def attempt_end(before: ProjectSetupStatus, after: ProjectSetupStatus) -> tuple[str, str] | None:
    """Outcome and reason of the attempt that ran in `before` and no longer does."""
    if before.run_ref is None or after.run_ref is not None:
        return None
    if after.attempts != before.attempts:
        last = after.attempts[-1]
        return str(last.outcome), last.reason
    outcome = AttemptOutcome.FAILED if after.phase in OVER else EndKind.RETURNED
    return str(outcome), _reason(after)


def waits_since(resource: ProjectSetupResource, now: datetime) -> datetime:
    """Since when its next attempt could start, but for a slot."""
    status = resource.status
    if status.phase is Phase.SUSPENDED:
        return now
    if status.next_attempt_at is not None:
        return min(status.next_attempt_at, now)
    times = [resource.queued_at]
    times += [attempt.finished_at for attempt in status.attempts[-1:]]
    times += [condition.last_transition_time for condition in status.conditions if condition.type == RECONCILING]
    return max(times)


def moment(line: StartLine, attempts: Attempts, dependencies: Sized, *, leading: bool) -> Moment:
    """What is true just now."""
    depth, oldest = line.depth(), line.oldest
    return Moment(
        leading=leading,
        queue={priority: depth[priority] for priority in PRIORITIES},
        oldest_wait=0.0 if oldest is None else max((datetime.now(UTC) - oldest).total_seconds(), 0.0),
        awaiting_dependency=len(dependencies),
        running=len(attempts.running),
        slots_taken=line.holding,
        slots=line.capacity,
        paused=line.paused,
    )


def _reason(status: ProjectSetupStatus) -> str:
    condition = succeeded_condition(status.conditions)
    return "" if condition is None else condition.reason
