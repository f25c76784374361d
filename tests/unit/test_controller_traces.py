"""The spans of an end, as a table of ends and spans."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.api.steps import StepTime
from projectsetup.controller.outcome import AttemptEnd, EndKind
from projectsetup.controller.traces import SeriesEnd, Traces, spans_of
from projectsetup.observe.spans import Span, TraceIds
from projectsetup.projects.history import PastAttempt

NOON: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)
KEY: Final = ("team", "project-1")
ABOUT: Final = {"namespace": "team", "project": "project-1", "recipe": "scripts", "engine": "job"}


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


PAST: Final = PastAttempt(
    attempt=2,
    outcome="Succeeded",
    reason="SetupSucceeded",
    message="done",
    started_at=at(10),
    finished_at=at(20),
    run_name="run-2",
    steps=[StepTime("build", at(11), at(13.5)).to_dict(), StepTime("push", at(13.5)).to_dict()],
)


def spans(kind: EndKind, past: PastAttempt | None, reason: Reason = Reason.CANCELLED) -> dict[str, Span]:
    end = AttemptEnd(kind=kind, attempt=2, reason=reason, message="why: hunter2", finished_at=at(20))
    ended = SeriesEnd(key=KEY, uid="uid-1", queued_at=NOON, recipe="scripts", engine="job", end=end, past=past)
    return {span.name: span for span in spans_of(ended, lambda text: text.replace("hunter2", "***"))}


@pytest.mark.parametrize(
    ("kind", "past", "expected"),
    [
        (EndKind.SUCCEEDED, PAST, {"attempt 2": None, "build": None, "push": None, "setup": None}),
        (
            EndKind.RETRY,
            replace(PAST, outcome="Failed", message="exit 75: hunter2", step="push", exit_code=75),
            {"attempt 2": "exit 75: ***", "build": None, "push": "exit 75: ***"},
        ),
        (
            EndKind.FAILED,
            replace(PAST, outcome="Failed", message="lost", reason="Interrupted", step=None),
            {"attempt 2": "lost", "build": None, "push": "lost", "setup": "why: ***"},
        ),
        (
            EndKind.FAILED,
            replace(PAST, outcome="Failed", message="no Job", steps=()),
            {"attempt 2": "no Job", "setup": "why: ***"},
        ),
        (EndKind.RELEASED, replace(PAST, outcome="Returned"), {"attempt 2": None, "build": None, "push": None}),
        (EndKind.CANCELLED, None, {"setup": None}),
        (EndKind.RELEASED, None, {}),
    ],
)
def test_which_spans_there_are_and_which_report_an_error(
    kind: EndKind, past: PastAttempt | None, expected: dict[str, str | None]
) -> None:
    assert {name: span.error for name, span in spans(kind, past).items()} == expected


def test_the_tree_its_times_and_its_attributes() -> None:
    ids = TraceIds("uid-1", NOON)
    past = replace(PAST, outcome="Failed", reason="StepTransient", step="push", exit_code=75)
    found = spans(EndKind.FAILED, past, Reason.ATTEMPTS_EXHAUSTED)
    times = {name: (span.start, span.end) for name, span in found.items()}
    assert times == {
        "setup": (NOON, at(20)),
        "attempt 2": (at(10), at(20)),
        "build": (at(11), at(13.5)),
        "push": (at(13.5), at(20)),
    }
    parents = {name: span.parent for name, span in found.items()}
    attempt = ids.attempt("run-2")
    assert parents == {"setup": None, "attempt 2": ids.root, "build": attempt, "push": attempt}
    assert {span.trace_id for span in found.values()} == {ids.trace}
    how: dict[str, Any] = {"attempt": 2, "outcome": "Failed", "reason": "StepTransient", "exit_code": 75}
    assert {name: dict(span.attributes) for name, span in found.items()} == {
        "setup": ABOUT | {"attempt": 2, "outcome": "Failed", "reason": "AttemptsExhausted"},
        "attempt 2": ABOUT | how | {"step": "push", "run": "run-2"},
        "build": ABOUT | {"attempt": 2, "step": "build", "outcome": "Succeeded"},
        "push": ABOUT | how | {"step": "push"},
    }


def test_a_span_begins_no_later_than_its_parts() -> None:
    found = spans(EndKind.SUCCEEDED, replace(PAST, started_at=at(12)))
    assert found["attempt 2"].start == at(11)
    found = spans(EndKind.SUCCEEDED, replace(PAST, started_at=at(-0.5)))
    assert found["setup"].start == found["attempt 2"].start == at(-0.5)


def test_without_an_exporter_nothing_happens() -> None:
    def fail(text: str) -> str:
        raise AssertionError(text)

    end = AttemptEnd(kind=EndKind.FAILED, attempt=0, reason=Reason.CANCELLED, message="m", finished_at=NOON)
    ended = SeriesEnd(key=KEY, uid="u", queued_at=NOON, recipe=None, engine="job", end=end, past=None)
    Traces(None, fail).ended(ended)
