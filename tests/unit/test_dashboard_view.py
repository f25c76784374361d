"""From ProjectSetups to what the dashboard shows: rows, sections, the chart, HTML."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from projectsetup.api.constants import CANCEL_REQUESTED_AT, PRIORITY, RETRY_REQUESTED_AT
from projectsetup.api.models import AttemptRecord, Commits, Failure
from projectsetup.api.reasons import Phase, Reason
from projectsetup.dashboard.board import board_of
from projectsetup.dashboard.rendering import ActionResult, Frame, Snapshot, render_board, render_page, render_question
from projectsetup.dashboard.rows import End, EndKind, Progress, Row, row_of
from projectsetup.dashboard.state import Outage, Queue
from projectsetup.dashboard.throughput import HEIGHT, WIDTH, Window, chart_of, throughput
from projectsetup.kube.queue_config import QueueControl
from tests.support.setup_bodies import NAME, NOON, RUN, resource, status

FAILURE = Failure(reason="StepTransient", message="reset", step="push", exit_code=75, retryable=True)


def minutes(number: float) -> datetime:
    return NOON - timedelta(minutes=number)


def attempt(number: int, outcome: str, finished_at: datetime) -> AttemptRecord:
    return AttemptRecord(
        number=number, started_at=finished_at - timedelta(minutes=1), finished_at=finished_at, outcome=outcome,
        reason="StepTransient", message="reset",
    )  # fmt: skip


UNSEEN: dict[str, Any] = {}
RUNNING = status(Reason.RUNNING, "attempt 1 of 3", run_ref=RUN, attempt=1, max_attempts=3, step="test", progress="4/7")
BACKING_OFF = status(
    Reason.RETRY_SCHEDULED, "attempt 1 of 3 failed", attempt=1, max_attempts=3, failure=FAILURE,
    next_attempt_at=minutes(-2), attempts=(attempt(1, "Failed", minutes(1)),),
)  # fmt: skip
FAILED = status(
    Reason.ATTEMPTS_EXHAUSTED, "all 2 attempts broke", attempt=2, max_attempts=2, failure=FAILURE,
    finished_at=minutes(5), attempts=(attempt(1, "Failed", minutes(9)), attempt(2, "Failed", minutes(5))),
)  # fmt: skip
CANCELLED = status(
    Reason.CANCELLED, "cancelled", attempt=1, finished_at=minutes(3), attempts=(attempt(1, "Failed", minutes(4)),)
)
SUCCEEDED = status(
    Reason.SETUP_SUCCEEDED, "set up", attempt=2, finished_at=minutes(2),
    commits=Commits(code_repo="c0de", docs_repo="d0c"),
    attempts=(attempt(1, "Failed", minutes(8)), attempt(2, "Succeeded", minutes(2))),
)  # fmt: skip

AWAY = "waiting for the database: refused"


ROWS: list[tuple[str, Mapping[str, Any], dict[str, Any]]] = [
    ("unseen", UNSEEN, {"phase": Phase.QUEUED, "seen": False, "attempt": "0/3", "reason": "", "ends": ()}),
    ("queued", status(Reason.QUEUED, "waiting for a free slot"), {"seen": True, "reason": "Queued", "message": ""}),
    ("database away", status(Reason.DATABASE_UNAVAILABLE, AWAY), {"phase": Phase.QUEUED, "message": AWAY}),
    ("running", RUNNING, {"step": "test", "progress": Progress(4, 7), "attempt": "1/3", "message": ""}),
    ("progress of another version", {**RUNNING, "progress": "most"}, {"progress": None}),
    ("backing off", BACKING_OFF, {"reason": "StepTransient", "message": "reset", "next_attempt_at": minutes(-2)}),
    ("its attempt", BACKING_OFF, {"ends": (End(minutes(1), EndKind.RETRIED),), "step": "push"}),
    ("failed", FAILED, {"reason": "AttemptsExhausted", "message": "all 2 attempts broke", "exit_code": 75}),
    ("its attempts", FAILED, {"ends": (End(minutes(9), EndKind.RETRIED), End(minutes(5), EndKind.FAILED))}),
    ("cancelled", CANCELLED, {"ends": (End(minutes(4), EndKind.RETRIED), End(minutes(3), EndKind.FAILED))}),
    ("succeeded", SUCCEEDED, {"code_commit": "c0de", "docs_commit": "d0c", "exit_code": None}),
    ("its attempts", SUCCEEDED, {"ends": (End(minutes(8), EndKind.RETRIED), End(minutes(2), EndKind.SUCCEEDED))}),
]


@pytest.mark.parametrize(("reported", "expected"), [case[1:] for case in ROWS], ids=[case[0] for case in ROWS])
def test_a_row(reported: Mapping[str, Any], expected: dict[str, Any]) -> None:
    row = row_of(resource(reported))
    assert {name: getattr(row, name) for name in expected} == expected


RETRY, CANCEL = {RETRY_REQUESTED_AT: "2"}, {CANCEL_REQUESTED_AT: "2"}


@pytest.mark.parametrize(
    ("reported", "annotations", "requested", "can_retry", "can_cancel"),
    [
        (UNSEEN, {}, "", False, True),
        (RUNNING, {}, "", False, True),
        (RUNNING, CANCEL, "cancel", False, False),
        (RUNNING, {**RETRY, **CANCEL}, "cancel", False, False),
        (BACKING_OFF, {}, "", True, True),
        (BACKING_OFF, RETRY, "retry", False, True),
        (status(Reason.SUSPENDED), {}, "", False, True),
        (FAILED, {}, "", True, False),
        (FAILED, RETRY, "retry", False, False),
        ({**FAILED, "lastHandledRetry": "2"}, RETRY, "", True, False),
        (CANCELLED, {}, "", True, False),
        ({**CANCELLED, "lastHandledCancel": "1"}, CANCEL, "cancel", False, False),
        (SUCCEEDED, {}, "", False, False),
    ],
)
def test_the_buttons_of_a_row(
    reported: Mapping[str, Any], annotations: Mapping[str, str], requested: str, can_retry: bool, can_cancel: bool
) -> None:
    row = row_of(resource(reported, annotations=annotations))
    assert (row.requested, row.can_retry, row.can_cancel) == (requested, can_retry, can_cancel)


def named(name: str, reported: Mapping[str, Any], namespace: str = "team-a", **times: str) -> Row:
    """A row with these times of day, such as `started`."""
    times = {f"{event}At": f"2026-11-24T{time}:00Z" for event, time in times.items()}
    return row_of(resource({**reported, **times}, name=name, namespace=namespace))


def queued(name: str, minutes_ago: float, priority: str = "1", namespace: str = "team-a") -> Row:
    reported = status(Reason.QUEUED, queued_at=minutes(minutes_ago))
    return row_of(resource(reported, name=name, namespace=namespace, annotations={PRIORITY: priority}))


@pytest.mark.parametrize(
    ("rows", "section", "names"),
    [
        ([queued("a", 1), queued("b", 9), queued("c", 2, "0"), queued("d", 99, "2")], "queued", "cbad"),
        ([queued("b", 1), queued("a", 1, namespace="z"), queued("c", 1)], "queued", "bca"),
        ([named("a", UNSEEN), queued("b", 61), queued("c", 59)], "queued", "bac"),
        ([named("a", RUNNING, started="11:59"), named("b", RUNNING, started="11:50")], "running", "ba"),
        ([named("a", BACKING_OFF), named("b", BACKING_OFF, nextAttempt="12:01")], "backing_off", "ba"),
        ([named("a", FAILED), named("b", CANCELLED)], "failed", "ba"),
        ([named("a", SUCCEEDED), named("b", SUCCEEDED, finished="12:00")], "succeeded", "ba"),
        ([named("a", status(Reason.SUSPENDED))], "suspended", "a"),
    ],
)
def test_the_order_in_a_section(rows: list[Row], section: str, names: str) -> None:
    found = getattr(board_of(rows), section)
    assert "".join(row.name for row in found.rows) == names
    assert found.total == len(names)


def test_a_long_section_shows_its_first_rows_and_how_many_there_are() -> None:
    board = board_of([queued(f"{number:03}", 200 - number) for number in range(120)], shown=3)
    assert [row.name for row in board.queued.rows] == ["000", "001", "002"]
    assert (board.queued.total, board.counts[Phase.QUEUED], board.counts[Phase.FAILED]) == (120, 120, 0)


@pytest.mark.parametrize(
    ("window", "at", "bucket"),
    [
        (Window.HOUR, NOON, 11), (Window.HOUR, NOON + timedelta(minutes=7), 11), (Window.HOUR, minutes(0.1), 10),
        (Window.HOUR, minutes(55), 0), (Window.HOUR, minutes(55.1), None), (Window.DAY, minutes(30), 22),
        (Window.DAY, NOON - timedelta(hours=23), 0), (Window.DAY, NOON - timedelta(days=1), None),
        (Window.WEEK, NOON - timedelta(days=1), 23),
    ],
)  # fmt: skip
def test_the_bucket_of_an_end(window: Window, at: datetime, bucket: int | None) -> None:
    found = throughput([End(at, EndKind.FAILED)], window, NOON)
    assert [number for number, entry in enumerate(found.buckets) if entry.total] == ([] if bucket is None else [bucket])
    assert found.totals[EndKind.FAILED] == (bucket is not None)
    assert found.buckets[-1].start <= NOON < found.buckets[-1].end


def test_the_chart_stacks_what_ended_and_stays_within_its_field() -> None:
    ends = [End(NOON, EndKind.SUCCEEDED)] * 2 + [End(NOON, EndKind.RETRIED)] + [End(minutes(30), EndKind.FAILED)]
    chart = chart_of(throughput(ends, Window.HOUR, NOON))
    last = chart.columns[-1].bars
    assert chart.top == 4
    assert [(bar.kind, bar.y, bar.height) for bar in last] == [
        (EndKind.SUCCEEDED, HEIGHT / 2, HEIGHT / 2),
        (EndKind.RETRIED, HEIGHT / 4, HEIGHT / 4),
    ]
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH for column in chart.columns for bar in column.bars)
    assert chart_of(throughput([], Window.DAY, NOON)).top == 2


BAD = "<script>alert('\"1\"')</script>" + "&" * 200
ACTING, READING = Frame("team-a", "t0ken"), Frame(None, None)


def known(*rows: Row, **changes: Any) -> Snapshot:
    reported = {"complete": True, "queue": Queue(QueueControl()), "outage": None, "result": None}
    return Snapshot(rows=rows, **{**reported, **changes})


def test_nothing_that_an_object_says_becomes_markup() -> None:
    failure = Failure(reason=BAD, message=BAD, step=BAD, exit_code=1, retryable=True)
    words = {
        "project_name": BAD[:253],
        "project_status": BAD,
        "step": BAD,
        "progress": BAD,
        "commits": Commits(code_repo=BAD, docs_repo=BAD),
    }
    rows = [
        named(BAD, status(reason, BAD, failure=failure, run_ref=run, attempts=(), **words), BAD)
        for reason, run in [
            (Reason.QUEUED, None), (Reason.DATABASE_UNAVAILABLE, RUN), (Reason.RETRY_SCHEDULED, None),
            (Reason.SUSPENDED, None), (Reason.STEP_FAILED, None), (Reason.SETUP_SUCCEEDED, None),
        ]
    ]  # fmt: skip
    full = known(
        *rows, queue=Queue(QueueControl(), BAD), outage=Outage(BAD, NOON), result=ActionResult(BAD, done=False, at=NOON)
    )
    pages = [render_page(frame, full, Window.DAY, NOON) for frame in (ACTING, READING, Frame(BAD, BAD))]
    pages += [render_question(Frame(BAD, BAD), row, NOON) for row in rows]
    for page in pages:
        assert "<script>alert" not in page
        assert "alert('" not in page
        assert page.count("<script") == 2
        assert "&lt;script&gt;" in page


def test_a_row_shows_the_name_of_the_project_beside_its_id() -> None:
    rows = [
        row_of(resource(status(Reason.QUEUED, project_name="Order Service"))),
        row_of(resource(name="f" + NAME[1:])),
    ]
    page = render_board(READING, known(*rows), Window.DAY, NOON)
    title = '<strong>Order Service</strong> <span class="namespace">team-a/</span><code class="id">'
    assert f"{title}{NAME}</code>" in page
    assert page.count("<strong>Order") == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"complete": False}, "Loading ProjectSetups"),
        ({"queue": Queue(QueueControl(paused=True, concurrency=3))}, "Paused: no new attempt starts."),
        ({"queue": Queue(QueueControl(paused=True, concurrency=3))}, "At most 3 attempts run at once."),
        ({"queue": Queue(None, "403 you may not")}, "403 you may not"),
        ({"queue": Queue(QueueControl(unknown=frozenset({"paused"})))}, "It is unknown whether the queue is paused."),
        ({"outage": Outage("connection refused", minutes(2))}, "This page is 2m out of date."),
        ({"outage": Outage("connection refused", minutes(2))}, "connection refused"),
        ({"result": ActionResult("a new series begins", done=True, at=NOON)}, "a new series begins"),
    ],
)
def test_what_the_board_says_of_the_cluster(changes: dict[str, Any], text: str) -> None:
    assert text in render_board(READING, known(**changes), Window.DAY, NOON)
