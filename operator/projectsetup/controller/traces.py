"""The spans of a setup: its series, each attempt and each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from projectsetup.api.reasons import AttemptOutcome
from projectsetup.api.steps import StepTime
from projectsetup.controller.facts import Origin
from projectsetup.controller.outcome import AttemptEnd, EndKind
from projectsetup.controller.workqueue import Key
from projectsetup.observe.spans import Span, SpanExporter, TraceIds
from projectsetup.projects.history import PastAttempt
from projectsetup.recipes.model import Recipe

Attributes = dict[str, str | int]

_GOES_ON: Final = frozenset({EndKind.RETRY, EndKind.RELEASED})
"""Ends after which the series continues."""


@dataclass(frozen=True, slots=True)
class SeriesEnd:
    """The end of a series, or of one of its attempts. `past` is the attempt that ended; None if none was running."""

    key: Key
    uid: str
    queued_at: datetime
    recipe: str | None
    engine: str
    end: AttemptEnd
    past: PastAttempt | None


@dataclass(frozen=True, slots=True)
class Traces:
    """Sends the spans of what has ended; without an exporter, there are no traces. `scrub` removes secrets."""

    exporter: SpanExporter | None
    scrub: Callable[[str], str]

    def traceparents(self, origin: Origin, recipe: Recipe) -> dict[str, str]:
        """TRACEPARENT for each step of an attempt that starts; empty without traces."""
        if self.exporter is None or origin.run_name is None or origin.queued_at is None:
            return {}
        ids = TraceIds(origin.uid, origin.queued_at)
        return {step.name: ids.traceparent(origin.run_name, step.name) for step in recipe.steps}

    def ended(self, ended: SeriesEnd) -> None:
        """Send the spans of this end. Only who wrote it to the record may call this, so that none is sent twice."""
        if self.exporter is not None:
            self.exporter.export(spans_of(ended, self.scrub))


def spans_of(ended: SeriesEnd, scrub: Callable[[str], str]) -> Iterator[Span]:
    """The spans of the attempt that ended and its steps, and that of the series if it has ended."""
    ids = TraceIds(ended.uid, ended.queued_at)
    about: Attributes = _known(namespace=ended.key[0], project=ended.key[1], recipe=ended.recipe, engine=ended.engine)
    if ended.past is not None and ended.past.run_name is not None:
        yield from _spans_of_attempt(ids, ended.past, ended.past.run_name, about, scrub)
    end = ended.end
    if end.kind not in _GOES_ON:
        yield Span(
            "setup",
            ids.trace,
            ids.root,
            None,
            start=min(ended.queued_at, _start(ended.past) if ended.past is not None else end.finished_at),
            end=end.finished_at,
            attributes={**about, "attempt": end.attempt, "outcome": str(end.kind), "reason": str(end.reason)},
            error=scrub(end.message) if end.kind is EndKind.FAILED else None,
        )


def _spans_of_attempt(
    ids: TraceIds, past: PastAttempt, run_name: str, about: Attributes, scrub: Callable[[str], str]
) -> Iterator[Span]:
    """Steps run one after another until one does not succeed, so the last one ended as the attempt did."""
    steps = [StepTime.from_dict(step) for step in past.steps]
    about = {**about, "attempt": past.attempt}
    how = _known(outcome=past.outcome, reason=past.reason, exit_code=past.exit_code)
    error = scrub(past.message) if past.outcome == AttemptOutcome.FAILED else None
    attempt = ids.attempt(run_name)
    last = past.step or (steps[-1].name if steps else None)
    yield Span(
        f"attempt {past.attempt}",
        ids.trace,
        attempt,
        ids.root,
        start=_start(past),
        end=past.finished_at,
        attributes={**about, **how, **_known(step=past.step, run=run_name)},
        error=error,
    )
    for step in steps:
        yield Span(
            step.name,
            ids.trace,
            ids.step(run_name, step.name),
            attempt,
            start=step.began,
            end=max(step.ended or past.finished_at, step.began),
            attributes={
                **about,
                "step": step.name,
                **(how if step.name == last else {"outcome": str(AttemptOutcome.SUCCEEDED)}),
            },
            error=error if step.name == last else None,
        )


def _start(past: PastAttempt) -> datetime:
    """No later than its first step: an operator that adopted the attempt knows its start in whole seconds only."""
    began = [StepTime.from_dict(step).began for step in past.steps[:1]]
    return min([past.started_at or past.finished_at, *began])


def _known(**attributes: str | int | None) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
