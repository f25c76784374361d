"""The queue of keys and the line of those that may start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.api.models import Rank
from projectsetup.controller.queue import Key, StartLine, WorkQueue

A, B, C = ("ns", "a"), ("ns", "b"), ("ns", "c")
T0 = datetime(2026, 1, 1, tzinfo=UTC)


async def taken(queue: WorkQueue) -> Key:
    async with asyncio.timeout(5):
        return await queue.take()


async def test_a_key_added_twice_comes_once() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert [await taken(queue), await taken(queue)] == [A, B]
    assert len(queue) == 0


async def test_a_key_is_never_worked_on_twice_at_once() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await taken(queue) == A
    queue.add(A)
    queue.add(B)
    assert await taken(queue) == B
    queue.done(A)
    assert await taken(queue) == A


async def test_the_earlier_of_two_times_counts() -> None:
    queue = WorkQueue()
    queue.add(A, delay=3600)
    queue.add(B, delay=0.05)
    queue.add(A)
    assert [await taken(queue), await taken(queue)] == [A, B]


async def test_namespaces_take_turns() -> None:
    queue = WorkQueue()
    crowd = [("crowd", str(number)) for number in range(100)]
    for key in crowd:
        queue.add(key)
    assert await taken(queue) == crowd[0]
    queue.add(A)
    queue.add(B)
    others = [await taken(queue) for _ in range(5)]
    assert others == [crowd[1], A, crowd[2], B, crowd[3]]


async def test_one_that_was_added_while_it_was_worked_on_comes_once_more() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await taken(queue) == A
    queue.add(A)
    queue.done(A)
    queue.add(B)
    assert [await taken(queue), await taken(queue)] == [A, B]
    queue.done(A)
    assert len(queue) == 0
    queue.add(C)
    assert await taken(queue) == C


async def test_waits_for_what_is_added_later() -> None:
    queue = WorkQueue()
    waiting = asyncio.create_task(taken(queue))
    await asyncio.sleep(0)
    queue.add(C)
    assert await waiting == C


def rank(priority: int = 1, seconds: int = 0, place: str = "ns/x") -> Rank:
    return Rank(priority, T0 + timedelta(seconds=seconds), place)


@pytest.mark.parametrize(
    ("ranks", "first"),
    [
        ({A: rank(1), B: rank(0, 9)}, B),
        ({A: rank(1, 5), B: rank(1, 4)}, B),
        ({A: rank(1, 5, "ns/b"), B: rank(1, 5, "ns/a")}, B),
    ],
    ids=["priority", "age", "name"],
)
def test_start_order(ranks: dict[Key, Rank], first: Key) -> None:
    line = StartLine(1)
    for key, its_rank in ranks.items():
        line.join(key, its_rank)
    assert line.give_slots() == [first]
    assert line.give_slots() == []


@given(st.permutations(range(8)), st.integers(1, 8))
def test_start_order_does_not_depend_on_the_order_of_joining(order: list[int], capacity: int) -> None:
    line = StartLine(capacity)
    for number in order:
        line.join(("ns", str(number)), rank(number % 3, number))
    given = line.give_slots()
    assert given == [("ns", str(n)) for n in sorted(range(8), key=lambda n: (n % 3, n))][:capacity]
    assert line.holding == capacity
    assert line.waiting == 8 - capacity


def test_a_new_priority_moves_who_still_waits() -> None:
    line = StartLine(1)
    line.join(A, rank(1))
    line.join(B, rank(2))
    line.join(B, rank(0))
    assert line.give_slots() == [B]


@pytest.mark.parametrize("brake", ["paused", "closed"])
def test_nothing_starts_while_paused_or_closed(brake: str) -> None:
    line = StartLine(1)
    line.join(A, rank())
    setattr(line, brake, True)
    assert line.give_slots() == []
    setattr(line, brake, False)
    assert line.give_slots() == [A]


def test_nothing_starts_before_all_were_looked_at() -> None:
    line = StartLine(1)
    line.await_first_look([A, B])
    line.join(A, rank(5))
    line.looked_at(A)
    assert line.give_slots() == []
    line.join(B, rank(0))
    line.looked_at(B)
    assert line.give_slots() == [B]


def test_a_slot_given_back_goes_to_the_next() -> None:
    line = StartLine(1)
    line.join(A, rank(0))
    line.join(B, rank(1))
    assert line.give_slots() == [A]
    assert line.holds_slot(A)
    line.leave(A)
    assert line.give_slots() == [B]


def test_less_capacity_stops_nothing_that_runs() -> None:
    line = StartLine(2)
    for key in (A, B, C):
        line.join(key, rank(place=key[1]))
    assert line.give_slots() == [A, B]
    line.capacity = 1
    line.leave(A)
    assert line.give_slots() == []
    line.leave(B)
    assert line.give_slots() == [C]


def test_what_runs_already_holds_a_slot_even_beyond_the_last() -> None:
    line = StartLine(1)
    line.take(("a", "running"))
    line.take(("b", "running"))
    line.join(("c", "waiting"), Rank(0, T0, "c/waiting"))
    assert (line.holding, line.give_slots()) == (2, [])
    line.leave(("a", "running"))
    assert line.give_slots() == []
    line.leave(("b", "running"))
    assert line.give_slots() == [("c", "waiting")]


def test_what_is_told_of_who_waits() -> None:
    line = StartLine(1)
    assert (line.depth(), line.oldest) == ({}, None)
    line.join(A, rank(1), since=T0)
    line.join(B, rank(2, 5))
    line.join(C, rank(2, 9))
    assert line.depth() == {1: 1, 2: 2}
    assert line.oldest == T0
    assert line.give_slots() == [A]
    assert line.waited_since(A) == T0
    assert (line.depth(), line.oldest) == ({2: 2}, T0 + timedelta(seconds=5))


def test_who_moves_in_line_goes_on_waiting_and_who_leaves_begins_anew() -> None:
    line = StartLine(0)
    line.join(A, rank(1), since=T0)
    line.join(A, rank(0), since=T0 + timedelta(seconds=9))
    assert line.oldest == T0
    line.leave(A)
    line.join(A, rank(1), since=T0 + timedelta(seconds=9))
    assert line.oldest == T0 + timedelta(seconds=9)
    line.take(B)
    assert line.waited_since(B) is None


def test_those_that_were_not_looked_at_in_time_hold_up_nobody() -> None:
    line = StartLine(1)
    line.await_first_look([A, B])
    line.join(C, rank())
    assert line.give_slots() == []
    assert line.stop_awaiting() == 2
    assert line.give_slots() == [C]
