"""The page of one setup: its attempts, their time line, its log, and its HTML."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest

from projectsetup.api.constants import CANCEL_REQUESTED_AT
from projectsetup.api.models import AttemptRecord, Commits, Failure, RunRef
from projectsetup.api.reasons import Reason
from projectsetup.dashboard import setup_log
from projectsetup.dashboard.attempts import Attempt, StepState, attempts_of, time_line
from projectsetup.dashboard.rendering import Frame, SetupFacts, render_log_part, render_overview, render_setup
from projectsetup.dashboard.rows import row_of
from projectsetup.dashboard.setup_log import (
    Entry,
    Heading,
    LogPart,
    Position,
    ShownLine,
    last_part,
    next_part,
    plain_text,
)
from projectsetup.kube.setup_events import SeenEvent
from projectsetup.log_reader import AttemptOutput, LeftOut, Line, Mark, SetupEnd
from projectsetup.projects.history import PastAttempt
from tests.support.setup_bodies import NOON, RUN, resource, status


def minutes(number: float) -> datetime:
    return NOON - timedelta(minutes=number)


def record(number: int, begun: float, ended: float) -> AttemptRecord:
    return AttemptRecord(
        number=number, started_at=minutes(begun), finished_at=minutes(ended), outcome="Failed", reason="StepFailed",
        message="reset", step="push",
    )  # fmt: skip


def past(number: int, run: str | None, begun: float | None, ended: float) -> PastAttempt:
    started = None if begun is None else minutes(begun)
    return PastAttempt(number, "Failed", "StepFailed", "reset", minutes(ended), started, run_name=run)


def output(number: int, run: str, begun: float) -> AttemptOutput:
    return AttemptOutput(number, run, minutes(begun))


RUNNING = status(Reason.RUNNING, run_ref=RUN, attempt=2, started_at=minutes(1), attempts=(record(1, 5, 4),))
ENDED = status(Reason.STEP_FAILED, attempt=1, attempts=(record(1, 20, 19), record(1, 5, 4)))

ATTEMPTS: list[tuple[str, dict[str, Any], list[PastAttempt] | None, list[AttemptOutput], list[Any]]] = [
    ("nothing", {}, None, [], []),
    ("status", RUNNING, None, [], [(2, "attempt-1", "Running", False), (1, None, "Failed", False)]),
    (
        "pods of two series",
        ENDED,
        None,
        [output(1, "a", 20), output(1, "b", 5)],
        [(1, "b", "Failed", True), (1, "a", "Failed", True)],
    ),
    ("pod of the later", ENDED, None, [output(1, "b", 5)], [(1, "b", "Failed", True), (1, None, "Failed", False)]),
    ("pod of the earlier", ENDED, None, [output(1, "a", 20)], [(1, None, "Failed", False), (1, "a", "Failed", True)]),
    (
        "running, with output",
        RUNNING,
        None,
        [output(1, "a", 5), output(2, "attempt-1", 1)],
        [(2, "attempt-1", "Running", True), (1, "a", "Failed", True)],
    ),
    (
        "history",
        RUNNING,
        [past(1, None, None, 90), past(1, "a", 5, 4)],
        [output(1, "a", 5), output(2, "attempt-1", 1)],
        [(2, "attempt-1", "Running", True), (1, "a", "Failed", True), (1, None, "Failed", False)],
    ),
    ("history ahead", RUNNING, [past(2, "attempt-1", 1, 0)], [], [(2, "attempt-1", "Failed", False)]),
    ("no end is known", {}, [], [output(1, "a", 5)], [(1, "a", "", True)]),
]


@pytest.mark.parametrize(
    ("reported", "history", "outputs", "expected"), [c[1:] for c in ATTEMPTS], ids=[c[0] for c in ATTEMPTS]
)
def test_attempts(
    reported: dict[str, Any],
    history: list[PastAttempt] | None,
    outputs: list[AttemptOutput],
    expected: list[tuple[int, str | None, str, bool]],
) -> None:
    found = attempts_of(resource(reported), history, outputs)
    assert [(a.number, a.run_name, a.outcome, a.output is not None) for a in found] == expected


def step(name: str, begun: float, ended: float | None) -> dict[str, Any]:
    finished = None if ended is None else minutes(ended).isoformat()
    return {"name": name, "startedAt": minutes(begun).isoformat(), "finishedAt": finished}


@pytest.mark.parametrize(
    ("outcome", "failed", "finished", "expected"),
    [
        ("Running", "", None, [("a", "done", 20, 20), ("b", "running", 40, 60)]),
        ("Failed", "b", 2, [("a", "done", 25, 25), ("b", "failed", 50, 50)]),
        ("Cancelled", "", 2, [("a", "done", 25, 25), ("b", "stopped", 50, 50)]),
        ("", "", None, [("a", "done", 50, 50), ("b", "stopped", 100, 0)]),
    ],
)
def test_the_time_line(
    outcome: str, failed: str, finished: float | None, expected: list[tuple[str, str, float, float]]
) -> None:
    finished_at = None if finished is None else minutes(finished)
    steps = (step("a", 8, 6), step("b", 6, None))
    attempt = Attempt(1, "r", outcome, minutes(10), finished_at, step=failed, steps=steps)
    bars = time_line(attempt, NOON)
    assert [(bar.name, str(bar.state), bar.x, bar.width) for bar in bars] == expected
    assert bars[0].after == timedelta(minutes=2)


def test_a_time_line_of_clocks_that_disagree_stays_within_its_field() -> None:
    steps = (step("a", 20, 15), step("b", 5, 9), step("c", 1, None))
    bars = time_line(Attempt(1, "r", "Failed", minutes(10), minutes(8), steps=steps), NOON)
    assert all(bar.x >= 0 and bar.x + bar.width <= 100.001 for bar in bars)
    assert time_line(Attempt(1, "r", "Failed", NOON, NOON, steps=[step("a", 0, 0)]), NOON)[0].state is StepState.DONE


class Source:
    """Output of attempts by run name; a mark is the number of a line."""

    def __init__(self, **logs: Sequence[str | None]) -> None:
        self.logs = {run: list(lines) for run, lines in logs.items()}

    async def attempts(self) -> Sequence[AttemptOutput]:
        return [output(number, run, 9 - number) for number, run in enumerate(self.logs, 1)]

    async def lines(
        self, attempt: AttemptOutput, *, follow: bool, after: Mark | None = None
    ) -> AsyncGenerator[Line | LeftOut]:
        assert not follow
        for number, text in enumerate(self.logs[attempt.run_name]):
            if after is None or number > int(after.place):
                name = "build" if number < 2 else "test"
                yield LeftOut(7) if text is None else Line(name, NOON, text, str(number))

    async def history(self) -> None:
        return None

    async def end(self) -> SetupEnd | None:
        return None


def texts(part: LogPart) -> list[str]:
    """The entries of a part of the log, with `#` before headings."""
    texts = {Heading: "# {0.text}", ShownLine: "{0.text}", LeftOut: "{0}"}
    return [texts[type(entry)].format(entry) for entry in part.entries]


async def test_a_log_in_parts() -> None:
    source = Source(a=["1", "2"])
    outputs = await source.attempts()
    part = await last_part(source, outputs[0], pinned=False, is_live=True)
    assert texts(part) == ["# Attempt 1", "# build", "1", "2"]
    assert part.position == Position("a", Mark("1", "build"))
    waiting = await next_part(source, part.position, outputs, is_live=True)
    assert (texts(waiting), waiting.position) == ([], part.position)
    source.logs |= {"a": ["1", "2", None, "3"], "b": ["x"], "c": []}
    outputs = await source.attempts()
    part = await next_part(source, part.position, outputs, is_live=False)
    assert texts(part) == ["… 7 lines left out …", "# test", "3", "# Attempt 2", "# build", "x"]
    assert part.position == Position("b", Mark("0", "build"))
    part = await next_part(source, part.position, outputs, is_live=False)
    assert (texts(part), part.position) == ([], None)


@pytest.mark.parametrize(
    ("position", "expected", "following"),
    [
        (Position("", skipped=True), ["# Attempt 2", "# build", "y"], Position("b", Mark("0", "build"))),
        (Position("a", skipped=True), ["# Attempt 2", "# build", "y"], Position("b", Mark("0", "build"))),
        (Position("b", skipped=True), [], Position("b", skipped=True)),
        (Position("a", pinned=True), ["# Attempt 1", "# build", "x"], Position("a", Mark("0", "build"), pinned=True)),
        (Position("c", pinned=True), [], Position("c", pinned=True)),
    ],
)
async def test_a_page_that_showed_no_line(position: Position, expected: list[str], following: Position) -> None:
    source = Source(a=["x"], b=["y"])
    part = await next_part(source, position, await source.attempts(), is_live=True)
    assert (texts(part), part.position) == (expected, following)


@pytest.mark.parametrize("position", [Position("a", Mark("1.2", "a&b"), pinned=True), Position("", skipped=True)])
def test_a_position_survives_its_address(position: Position) -> None:
    assert Position.parse(dict(parse_qsl(position.query(), keep_blank_values=True))) == position


async def test_parts_are_bounded_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_log, "SHOWN", 2)
    source = Source(a=["1", "2", "3", "4", "5"], b=["x"])
    outputs = await source.attempts()
    part = await last_part(source, outputs[0], pinned=False, is_live=True)
    assert (texts(part), part.omitted) == (["# Attempt 1", "# test", "4", "5"], 3)
    position: Position | None = Position("a", pinned=False)
    shown = []
    while position is not None:
        part = await next_part(source, position, outputs, is_live=False)
        assert sum(isinstance(entry, ShownLine) for entry in part.entries) <= 2
        shown += [entry.text for entry in part.entries if isinstance(entry, ShownLine)]
        position = part.position
    assert shown == ["1", "2", "3", "4", "5", "x"]


async def test_the_log_as_text() -> None:
    source = Source(a=["1", "a\tb\u202e\x07", None, "2"])
    found = [line async for line in plain_text(source, (await source.attempts())[0])]
    assert "".join(found) == (
        "── build\n2026-11-24T12:00:00Z 1\n2026-11-24T12:00:00Z a       b\ufffd\ufffd\n"
        "… 7 lines left out …\n── test\n2026-11-24T12:00:00Z 2\n"
    )


BAD = "<script>alert('\"1\"')</script>" + "&" * 200


def facts(reported: dict[str, Any], **changes: Any) -> SetupFacts:
    parsed = resource(reported, **changes.pop("body", {}))
    attempts = changes.pop("attempts", attempts_of(parsed, None, ()))
    shown = {
        "pinned": None, "events": (), "has_history": False, "problems": (), "outage": None, "result": None,
        "chosen": attempts[0] if attempts else None,
    }  # fmt: skip
    return SetupFacts(now=NOON, resource=parsed, row=row_of(parsed), attempts=attempts, **{**shown, **changes})


@pytest.mark.parametrize("frame", [Frame("team-a", "t0ken"), Frame(None, None)])
def test_nothing_becomes_markup(frame: Frame) -> None:
    failure = Failure(reason=BAD, message=BAD, step=BAD, exit_code=1, retryable=True)
    run = RunRef(engine=BAD, name=BAD, id=BAD)
    words = {"project_name": BAD, "project_status": BAD, "step": BAD, "commits": Commits(code_repo=BAD, docs_repo=BAD)}
    reported = status(Reason.RETRY_SCHEDULED, BAD, failure=failure, run_ref=run, **words)
    attempt = Attempt(
        1, BAD, BAD, minutes(2), NOON, BAD, BAD, BAD, 1, [{**step(BAD, 2, 1), "name": BAD}], output(1, BAD, 2)
    )
    shown = facts(
        reported,
        body={"spec": {"parameters": {BAD: BAD}, "recipe": "a"}, "name": BAD, "namespace": BAD},
        attempts=(attempt,),
        events=[SeenEvent(NOON, is_warning=True, reason=BAD, message=BAD, count=1)],
        problems=[BAD],
        pinned=BAD,
    )
    line = Line(BAD, NOON, BAD, BAD)
    entries: list[Entry] = [
        Heading(BAD, BAD, is_attempt=True),
        Heading(BAD, BAD, is_attempt=False),
        ShownLine(BAD, line, BAD),
    ]
    log = LogPart(entries, 1, Position(BAD, Mark(BAD, BAD)))
    pages = [render_setup(frame, shown, log), render_setup(frame, shown, BAD), render_overview(frame, shown)]
    pages.append(render_log_part(shown.resource, log))
    for page in pages:
        assert "<script>alert" not in page
        assert "alert('" not in page
        assert page.count("<script") == (2 if page.startswith("<!DOCTYPE") else 0)
        assert "&lt;script&gt;" in page


FAILURE = Failure(reason="StepFailed", message="no such table", step="test", exit_code=3, retryable=False)


@pytest.mark.parametrize(
    ("reported", "changes", "text"),
    [
        ({}, {}, "Not seen by an operator yet."),
        ({}, {}, "No attempt has started yet."),
        ({}, {"body": {"annotations": {"setup.codemyspec.com/priority": "x"}}}, "priority"),
        (status(Reason.STEP_FAILED, failure=FAILURE), {}, "exit code 3"),
        (status(Reason.RETRY_SCHEDULED, failure=FAILURE), {}, "Last failure: <strong>StepFailed"),
        (RUNNING, {}, "Only the database has the times of its steps"),
        (RUNNING, {"has_history": True}, "No step of this attempt has begun"),
        (RUNNING, {"events": None, "problems": ["events: 403"]}, "The events cannot be read."),
        (RUNNING, {"body": {"annotations": {CANCEL_REQUESTED_AT: "1"}}}, "cancel requested"),
    ],
)
def test_what_the_page_says(reported: dict[str, Any], changes: dict[str, Any], text: str) -> None:
    assert text in render_overview(Frame("team-a", "t0ken"), facts(reported, **changes))
