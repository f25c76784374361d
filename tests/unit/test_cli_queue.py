"""What `queue show` makes of the ProjectSetups."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from projectsetup.api.constants import PRIORITY, RETRY_REQUESTED_AT
from projectsetup.api.limits import Limits
from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import Reason
from projectsetup.cli.queue import MAX_ROWS, Leader, Line, QueueState, line_up, queue_text, queue_value
from projectsetup.kube.queue_config import QueueControl, parse_queue_control
from tests.support.setup_bodies import NAME, NOON, RUN, resource, status


def setup(name: str, reason: Reason, *, priority: int = 1, since: int = 0, **fields: Any) -> ProjectSetupResource:
    """A setup with this name that was queued so many seconds before noon."""
    queued = NOON - timedelta(seconds=since)
    return resource(status(reason, queued_at=queued, **fields), annotations={PRIORITY: str(priority)}, name=name)


def running(name: str, since: int) -> ProjectSetupResource:
    started = NOON - timedelta(seconds=since)
    fields: dict[str, Any] = {"step": "test", "progress": "4/7", "project_name": "shop", "started_at": started}
    return setup(name, Reason.RUNNING, run_ref=RUN, attempt=1, **fields)


LINE = line_up(
    [
        setup("late", Reason.QUEUED, since=5),
        setup("early", Reason.DATABASE_UNAVAILABLE, since=65),
        setup("urgent", Reason.QUEUED, priority=0, since=1),
        running("second", 10),
        running("first", 90),
        setup("later", Reason.RETRY_SCHEDULED, attempt=1, next_attempt_at=NOON + timedelta(seconds=60)),
        setup("soon", Reason.RETRY_SCHEDULED, attempt=1, next_attempt_at=NOON + timedelta(seconds=12)),
        setup("asleep", Reason.SUSPENDED),
        setup("failed", Reason.STEP_FAILED),
        setup("ready", Reason.SETUP_SUCCEEDED),
        resource(name="unseen"),
    ]
)
EMPTY = line_up([])
LEADER = Leader("operator-0", NOON - timedelta(seconds=30))


def state(
    line: Line = EMPTY, *, paused: bool = False, concurrency: int | None = None, leader: Leader | None = LEADER,
    within: str | None = None,
) -> QueueState:  # fmt: skip
    return QueueState("ops", QueueControl(paused, concurrency), None, leader, line, within)


def test_setups_line_up_as_the_operator_starts_them() -> None:
    assert [r.name for r in LINE.waiting] == ["urgent", "unseen", "early", "late"]
    assert [r.name for r in LINE.running] == ["first", "second"]
    assert [r.name for r in LINE.backing_off] == ["soon", "later"]
    assert LINE.suspended == 1
    retried = resource(status(Reason.STEP_FAILED), annotations={RETRY_REQUESTED_AT: "now"})
    assert line_up([retried]) == EMPTY  # the operator has not queued it yet


def test_the_queue_for_people() -> None:
    lines = queue_text(state(LINE, paused=True, concurrency=3), NOON).plain.splitlines()
    assert lines[:8] == [
        "Namespace    ops", "Operator     operator-0", "Paused       yes, no new attempts start", "Concurrency  3",
        "Slots        2 of 3 in use", "Waiting      4, the longest for 1h", "Backing off  2, the next in 12s",
        "Suspended    1",
    ]  # fmt: skip
    assert [line.split() for line in lines[9:12]] == [
        ["PRIORITY", "WAITING", "LONGEST"], ["0", "1", "1s"], ["1", "3", "1h"],
    ]  # fmt: skip
    assert lines[13].split() == ["NEXT", "ID", "PROJECT", "NAMESPACE", "PRIORITY", "FOR"]
    assert lines[14].split() == ["1", "urgent", "-", "team-a", "0", "1s"]
    assert lines[-2].split() == ["first", "shop", "team-a", "test", "4/7", "1m30s"]


@pytest.mark.parametrize(
    ("leader", "shown"),
    [
        (LEADER, "operator-0"),
        (Leader("operator-0", NOON - timedelta(seconds=31)), "operator-0, lease last renewed 31s ago"),
        (Leader("operator-0", NOON + timedelta(hours=1)), "operator-0"),
        (Leader(), "none is running"),
        (None, "unknown (you are not allowed to read its Lease)"),
    ],
)
def test_a_silent_or_missing_operator_is_shown(leader: Leader | None, shown: str) -> None:
    queue = state(leader=leader)
    assert queue_text(queue, NOON).plain.splitlines()[1] == f"Operator     {shown}"
    assert ("operator" in queue_value(queue)) is (leader is not None)


def test_only_people_get_a_limited_number_of_rows() -> None:
    long = state(line_up([resource(name=f"{NAME[:-3]}{number}") for number in range(100, 112)]))
    text = queue_text(long, NOON).plain
    assert text.count(NAME[:-3]) == MAX_ROWS
    assert text.endswith("… and 2 more")
    assert len(queue_value(long)["waiting"]) == 12


def test_the_queue_for_scripts() -> None:
    value = queue_value(state(LINE))
    assert (value["operator"], value["operatorRenewedAt"]) == ("operator-0", "2026-11-24T11:59:30Z")
    assert value["waitingByPriority"] == {"0": 1, "1": 3}
    entry = {"namespace": "team-a", "name": "first", "project": "shop", "priority": 1}
    assert value["running"][0] == {**entry, "step": "test", "progress": "4/7"}
    entry = {"namespace": "team-a", "name": "urgent", "project": None, "priority": 0}
    assert value["waiting"][0] == {**entry, "queuedAt": "2026-11-24T11:59:59Z", "waitsFor": None}
    assert value["backingOff"][0]["nextAttemptAt"] == "2026-11-24T12:00:12Z"
    assert "within" not in value


def test_invalid_settings_are_unknown() -> None:
    control, problem = parse_queue_control({"paused": "yes", "concurrency": "many"})
    queue = replace(state(), control=control, problem=problem)
    lines = queue_text(queue, NOON).plain.splitlines()
    assert lines[2:4] == [
        "Paused       unknown, the value is invalid",
        "Concurrency  unknown, the value is invalid",
    ]
    assert lines[-1].startswith("Invalid      paused is 'yes'")
    assert queue_value(queue)["paused"] is None


def test_who_waits_for_which_limit() -> None:
    limits = Limits(per_namespace=2, paused_recipes=frozenset({"broken"}))
    control = QueueControl(concurrency=9, limits=limits)
    waiting = [setup("free", Reason.QUEUED, since=1), setup("held", Reason.QUEUED, since=9)]
    waiting[0] = waiting[0].model_copy(update={"namespace": "team-b"})
    state = QueueState("ops", control, None, LEADER, line_up([running("1", 5), running("2", 4), *waiting]), None)
    lines = [line.split() for line in queue_text(state, NOON).plain.splitlines()]
    assert ["Per", "namespace", "2"] in lines
    assert ["namespace", "team-a", "2", "2", "1"] in lines
    assert ["recipe", "broken", "0", "paused", "0"] in lines
    assert ["NEXT", "ID", "PROJECT", "NAMESPACE", "PRIORITY", "FOR", "LIMIT"] in lines
    assert [line for line in lines if line[1:2] in (["free"], ["held"])] == [
        ["1", "free", "-", "team-b", "1", "1s", "-"],
        ["-", "held", "-", "team-a", "1", "9s", "namespace", "team-a"],
    ]
    found = {each["name"]: each["waitsFor"] for each in queue_value(state)["waiting"]}
    assert found == {"held": {"limit": "namespace", "name": "team-a", "most": 2}, "free": None}
