"""What the metrics count and show: changes of `.status`, durations of attempts and steps, and the current state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sized
from datetime import UTC, datetime
from typing import Final

from projectsetup.api.limits import LimitKind
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
from projectsetup.controller.events import Event
from projectsetup.controller.outcome import EndKind
from projectsetup.controller.runs import Runs
from projectsetup.controller.slots import Slots
from projectsetup.engines.base import Adoption, AttemptSpec, Engine, FindRun
from projectsetup.observe.metrics import Metrics, Moment
from projectsetup.projects.model import Backlog
from projectsetup.recipes.model import Recipe
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.types import (
    InfrastructureError,
    NotStarted,
    Progress,
    ProgressCallback,
    SetupOutcome,
    SetupSucceeded,
)

PRIORITIES: Final = range(10)

SETUP_ENDS: Final = (
    *((Phase.SUCCEEDED, reason) for reason in sorted(SUCCESSES)),
    (Phase.CANCELLED, Reason.CANCELLED),
    *((Phase.FAILED, reason) for reason in sorted(TERMINAL_FAILURES - {Reason.CANCELLED})),
)
"""How a setup can end: phase and reason."""

ATTEMPT_ENDS: Final = (
    (AttemptOutcome.SUCCEEDED, Reason.SETUP_SUCCEEDED),
    (AttemptOutcome.CANCELLED, Reason.CANCELLED),
    *((AttemptOutcome.FAILED, reason) for reason in (Reason.STEP_FAILED, *sorted(RETRYABLE))),
    (EndKind.RELEASED, Reason.QUEUED),
    (EndKind.RELEASED, Reason.SUSPENDED),
)
"""How an attempt usually ends. One that lost its project ends with the reason of its setup."""

RETRY_RESULTS: Final = {
    EventReason.RETRY_REQUESTED: "accepted",
    EventReason.RETRY_COALESCED: "coalesced",
    EventReason.RETRY_IGNORED: "ignored",
}
CANCEL_RESULTS: Final = {EventReason.CANCELLED: "accepted", EventReason.CANCEL_IGNORED: "ignored"}
"""What became of a request, by the event about it."""


def count_changes(
    metrics: Metrics, before: ProjectSetupStatus, after: ProjectSetupStatus, events: Iterable[Event]
) -> None:
    """Count what ended between two versions of `.status`, and the requests that the events are about."""
    if (attempt := attempt_end(before, after)) is not None:
        metrics.attempt_ended(*attempt)
    if (setup := setup_end(before, after)) is not None:
        metrics.setup_ended(*setup)
    for event in events:
        if event.reason is EventReason.RETRY_SCHEDULED:
            metrics.retry_scheduled()
        elif event.reason in RETRY_RESULTS:
            metrics.retry_requested(RETRY_RESULTS[event.reason])
        elif event.reason in CANCEL_RESULTS:
            metrics.cancel_requested(CANCEL_RESULTS[event.reason])


def setup_end(before: ProjectSetupStatus, after: ProjectSetupStatus) -> tuple[str, str] | None:
    """Phase and reason of a setup that ended between two versions of `.status`."""
    if after.phase not in OVER or before.phase in OVER:
        return None
    return str(after.phase), _reason(after)


def attempt_end(before: ProjectSetupStatus, after: ProjectSetupStatus) -> tuple[str, str] | None:
    """Outcome and reason of an attempt that ended between two versions of `.status`."""
    if before.run_ref is None or after.run_ref is not None:
        return None
    if after.attempts != before.attempts:
        last = after.attempts[-1]
        return str(last.outcome), last.reason
    outcome = AttemptOutcome.FAILED if after.phase in OVER else EndKind.RELEASED
    return str(outcome), _reason(after)


def ready_since(resource: ProjectSetupResource, now: datetime) -> datetime:
    """Since when its next attempt could have started, had there been a slot."""
    status = resource.status
    if status.phase is Phase.SUSPENDED:
        return now
    if status.next_attempt_at is not None:
        return min(status.next_attempt_at, now)
    times = [resource.queued_at]
    times += [attempt.finished_at for attempt in status.attempts[-1:]]
    times += [condition.last_transition_time for condition in status.conditions if condition.type == RECONCILING]
    return max(times)


def moment(slots: Slots, runs: Runs, dependencies: Sized, backlog: Backlog, *, leading: bool) -> Moment:
    """The current state."""
    depth, limited = slots.depth(), slots.limited()
    return Moment(
        leading=leading,
        queue={priority: depth[priority] for priority in PRIORITIES},
        limited={str(kind): limited[kind] for kind in LimitKind},
        oldest_wait=_age(slots.oldest),
        awaiting_dependency=len(dependencies),
        intake_pending=backlog.pending,
        intake_oldest=_age(backlog.oldest),
        running=len(runs.running),
        slots_taken=slots.held,
        slots=slots.capacity,
        paused=slots.paused,
    )


def _age(since: datetime | None) -> float:
    return 0.0 if since is None else max((datetime.now(UTC) - since).total_seconds(), 0.0)


def _reason(status: ProjectSetupStatus) -> str:
    condition = succeeded_condition(status.conditions)
    return "" if condition is None else condition.reason


class MeteredEngine:
    """Runs attempts on another engine and measures how long they and their steps take.

    Attempts that were stopped or adopted are not measured: their duration says nothing about the recipe.
    """

    def __init__(self, engine: Engine, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self.name = engine.name
        self.outlives_operator = engine.outlives_operator
        self.needs_credentials = engine.needs_credentials

    def digest(self, recipe: Recipe, timeout: float) -> str | None:
        """See `Engine`."""
        return self._engine.digest(recipe, timeout)

    async def run(
        self, attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, leave: asyncio.Event, log: AttemptLog
    ) -> SetupOutcome:
        """See `Engine`."""
        if isinstance(attempt, Adoption):
            return await self._engine.run(attempt, on_progress, leave, log)
        times = _Times(attempt.recipe, self._metrics, self._clock)

        def progressed(progress: Progress) -> None:
            times.progressed(progress.completed)
            on_progress(progress)

        try:
            outcome = await self._engine.run(attempt, progressed, leave, log)
        except NotStarted:
            raise
        except InfrastructureError as error:
            times.ended(AttemptOutcome.FAILED, error.step)
            raise
        if isinstance(outcome, SetupSucceeded):
            times.ended(AttemptOutcome.SUCCEEDED, attempt.recipe.steps[-1].name)
        else:
            times.ended(AttemptOutcome.FAILED, outcome.step)
        return outcome

    async def kill_all(self) -> None:
        """See `Engine`."""
        await self._engine.kill_all()

    async def collect_garbage(self, find_run: FindRun) -> None:
        """See `Engine`."""
        await self._engine.collect_garbage(find_run)


class _Times:
    """Times one attempt. A step whose start or end was missed is not measured: Jobs report only steps that last."""

    def __init__(self, recipe: Recipe, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._recipe = recipe
        self._metrics = metrics
        self._clock = clock
        self._started = self._step_started = clock()
        self._completed = 0

    def progressed(self, completed: int) -> None:
        if completed == self._completed:
            return
        now = self._clock()
        if completed == self._completed + 1:
            self._step_ended(now)
        self._completed, self._step_started = completed, now

    def ended(self, outcome: AttemptOutcome, step: str | None) -> None:
        now = self._clock()
        if step == self._recipe.steps[self._completed].name:
            self._step_ended(now)
        self._metrics.attempt_took(self._recipe.name, outcome, now - self._started)

    def _step_ended(self, now: float) -> None:
        step = self._recipe.steps[self._completed]
        self._metrics.step_took(self._recipe.name, step.name, now - self._step_started)
