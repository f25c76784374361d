"""The attempts of one setup and the time line of their steps, from all that is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from projectsetup.api.models import AttemptRecord, ProjectSetupResource
from projectsetup.api.reasons import AttemptOutcome
from projectsetup.api.steps import StepTime
from projectsetup.log_reader import AttemptOutput

if TYPE_CHECKING:
    from projectsetup.projects.history import PastAttempt

RUNNING: Final = "Running"
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_SKEW: Final = timedelta(seconds=30)
"""By how much the clocks of operator and API server may differ."""
_SHORTEST: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. None and "": not known; `run_name` is None where neither history nor output names it.

    `steps` are those that began, each `{name, startedAt, finishedAt}`. `output` is None if nothing is left of it.
    """

    number: int
    run_name: str | None
    outcome: str
    started_at: datetime | None
    finished_at: datetime | None = None
    reason: str = ""
    message: str = ""
    step: str = ""
    exit_code: int | None = None
    steps: Sequence[Mapping[str, Any]] = ()
    output: AttemptOutput | None = None

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self.outcome == RUNNING


class StepState(StrEnum):
    """How far a step has come."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """The attempt ended before it did, and not because it failed."""


@dataclass(frozen=True, slots=True)
class StepBar:
    """A step on the time line of its attempt; `x` and `width` are percentages of the attempt's duration."""

    name: str
    state: StepState
    after: timedelta
    took: timedelta
    x: float
    width: float


def attempts_of(
    resource: ProjectSetupResource, past: Sequence[PastAttempt] | None, outputs: Sequence[AttemptOutput]
) -> tuple[Attempt, ...]:
    """All attempts, latest first; those that have ended are in the history, without one (None) in the status."""
    run = resource.status.run_ref
    running = None if run is None else run.name
    by_run = {output.run_name: output for output in outputs}
    if past is None:
        over = _of_status(resource.status.attempts, [output for output in outputs if output.run_name != running])
    else:
        over = [_of_history(each, by_run.get(each.run_name or "")) for each in past]
    known = {attempt.run_name for attempt in over}
    others = [_of_output(each, RUNNING if each.run_name == running else "") for each in outputs]
    if running is not None and running not in by_run:
        others.append(Attempt(resource.status.attempt, running, RUNNING, resource.status.started_at))
    found = [*over, *(attempt for attempt in others if attempt.run_name not in known)]
    return tuple(sorted(found, key=_began, reverse=True))


def _of_history(past: PastAttempt, output: AttemptOutput | None) -> Attempt:
    return Attempt(
        number=past.attempt,
        run_name=past.run_name,
        outcome=past.outcome,
        started_at=past.started_at,
        finished_at=past.finished_at,
        reason=past.reason,
        message=past.message,
        step=past.step or "",
        exit_code=past.exit_code,
        steps=past.steps or (output.steps if output else ()),
        output=output,
    )


def _of_status(records: Sequence[AttemptRecord], outputs: Iterable[AttemptOutput]) -> list[Attempt]:
    """The status does not name the run: it is the one with this number that began during the attempt."""
    left, found = list(outputs), []
    for record in reversed(records):
        during = [each for each in left if record.started_at - _SKEW <= each.started_at <= record.finished_at + _SKEW]
        output = next((each for each in reversed(during) if each.attempt == record.number), None)
        if output is not None:
            left.remove(output)
        found.append(
            Attempt(
                number=record.number,
                run_name=output.run_name if output else None,
                outcome=str(record.outcome),
                started_at=record.started_at,
                finished_at=record.finished_at,
                reason=record.reason,
                message=record.message,
                step=record.step or "",
                output=output,
            )
        )
    return found


def _of_output(output: AttemptOutput, outcome: str) -> Attempt:
    return Attempt(output.attempt, output.run_name, outcome, output.started_at, steps=output.steps, output=output)


def _began(attempt: Attempt) -> datetime:
    return attempt.started_at or attempt.finished_at or _LONG_AGO


def time_line(attempt: Attempt, now: datetime) -> tuple[StepBar, ...]:
    """The steps of the attempt that began."""
    steps = [StepTime.from_dict(step) for step in attempt.steps]
    if not steps:
        return ()
    start = min([step.began for step in steps] + ([attempt.started_at] if attempt.started_at else []))
    end = now if attempt.is_running else attempt.finished_at or max(step.ended or step.began for step in steps)
    whole = max(end - start, _SHORTEST)
    bars = []
    for step in steps:
        until = max(step.ended or end, step.began)
        x = min(max((step.began - start) / whole, 0.0), 1.0)
        width = min((until - step.began) / whole, 1.0 - x)
        state = _state(attempt, step)
        bars.append(StepBar(step.name, state, step.began - start, until - step.began, 100 * x, 100 * width))
    return tuple(bars)


def _state(attempt: Attempt, step: StepTime) -> StepState:
    if attempt.outcome == AttemptOutcome.FAILED and step.name == attempt.step:
        return StepState.FAILED
    if step.ended is not None:
        return StepState.DONE
    return StepState.RUNNING if attempt.is_running else StepState.STOPPED
