"""The queue of keys and the line of those that may start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.api.models import Rank
from projectsetup.controller.slots import Slots
from projectsetup.controller.workqueue import Key, WorkQueue

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
    slots = Slots(1)
    for key, its_rank in ranks.items():
        slots.enqueue(key, its_rank)
    assert slots.grant() == [first]
    assert slots.grant() == []


@given(st.permutations(range(8)), st.integers(1, 8))
def test_start_order_does_not_depend_on_the_order_of_joining(order: list[int], capacity: int) -> None:
    slots = Slots(capacity)
    for number in order:
        slots.enqueue(("ns", str(number)), rank(number % 3, number))
    given = slots.grant()
    assert given == [("ns", str(n)) for n in sorted(range(8), key=lambda n: (n % 3, n))][:capacity]
    assert slots.held == capacity
    assert slots.waiting == 8 - capacity


def test_a_new_priority_moves_who_still_waits() -> None:
    slots = Slots(1)
    slots.enqueue(A, rank(1))
    slots.enqueue(B, rank(2))
    slots.enqueue(B, rank(0))
    assert slots.grant() == [B]


@pytest.mark.parametrize("brake", ["paused", "closed"])
def test_nothing_starts_while_paused_or_closed(brake: str) -> None:
    slots = Slots(1)
    slots.enqueue(A, rank())
    setattr(slots, brake, True)
    assert slots.grant() == []
    setattr(slots, brake, False)
    assert slots.grant() == [A]


def test_nothing_starts_before_all_were_looked_at() -> None:
    slots = Slots(1)
    slots.expect([A, B])
    slots.enqueue(A, rank(5))
    slots.reconciled(A)
    assert slots.grant() == []
    slots.enqueue(B, rank(0))
    slots.reconciled(B)
    assert slots.grant() == [B]


def test_a_slot_given_back_goes_to_the_next() -> None:
    slots = Slots(1)
    slots.enqueue(A, rank(0))
    slots.enqueue(B, rank(1))
    assert slots.grant() == [A]
    assert slots.holds(A)
    slots.release(A)
    assert slots.grant() == [B]


def test_less_capacity_stops_nothing_that_runs() -> None:
    slots = Slots(2)
    for key in (A, B, C):
        slots.enqueue(key, rank(place=key[1]))
    assert slots.grant() == [A, B]
    slots.capacity = 1
    slots.release(A)
    assert slots.grant() == []
    slots.release(B)
    assert slots.grant() == [C]


def test_what_runs_already_holds_a_slot_even_beyond_the_last() -> None:
    slots = Slots(1)
    slots.acquire(("a", "running"))
    slots.acquire(("b", "running"))
    slots.enqueue(("c", "waiting"), Rank(0, T0, "c/waiting"))
    assert (slots.held, slots.grant()) == (2, [])
    slots.release(("a", "running"))
    assert slots.grant() == []
    slots.release(("b", "running"))
    assert slots.grant() == [("c", "waiting")]


def test_what_is_told_of_who_waits() -> None:
    slots = Slots(1)
    assert (slots.depth(), slots.oldest) == ({}, None)
    slots.enqueue(A, rank(1), since=T0)
    slots.enqueue(B, rank(2, 5))
    slots.enqueue(C, rank(2, 9))
    assert slots.depth() == {1: 1, 2: 2}
    assert slots.oldest == T0
    assert slots.grant() == [A]
    assert slots.ready_since(A) == T0
    assert (slots.depth(), slots.oldest) == ({2: 2}, T0 + timedelta(seconds=5))


def test_who_moves_in_line_goes_on_waiting_and_who_leaves_begins_anew() -> None:
    slots = Slots(0)
    slots.enqueue(A, rank(1), since=T0)
    slots.enqueue(A, rank(0), since=T0 + timedelta(seconds=9))
    assert slots.oldest == T0
    slots.release(A)
    slots.enqueue(A, rank(1), since=T0 + timedelta(seconds=9))
    assert slots.oldest == T0 + timedelta(seconds=9)
    slots.acquire(B)
    assert slots.ready_since(B) is None


def test_those_that_were_not_looked_at_in_time_hold_up_nobody() -> None:
    slots = Slots(1)
    slots.expect([A, B])
    slots.enqueue(C, rank())
    assert slots.grant() == []
    assert slots.stop_expecting() == 2
    assert slots.grant() == [C]
