"""The start order and who holds a slot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.api.models import Rank
from projectsetup.controller.slots import Slots
from projectsetup.controller.workqueue import Key

A, B, C = ("ns", "a"), ("ns", "b"), ("ns", "c")
T0 = datetime(2026, 1, 1, tzinfo=UTC)


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
def test_start_order_does_not_depend_on_the_order_of_arrival(order: list[int], capacity: int) -> None:
    slots = Slots(capacity)
    for number in order:
        slots.enqueue(("ns", str(number)), rank(number % 3, number))
    given = slots.grant()
    assert given == [("ns", str(n)) for n in sorted(range(8), key=lambda n: (n % 3, n))][:capacity]
    assert slots.held == capacity
    assert slots.waiting == 8 - capacity


def test_a_new_priority_changes_the_place_of_a_waiting_key() -> None:
    slots = Slots(1)
    slots.enqueue(A, rank(1))
    slots.enqueue(B, rank(2))
    slots.enqueue(B, rank(0))
    assert slots.grant() == [B]


@pytest.mark.parametrize("obstacle", ["paused", "closed"])
def test_no_slot_is_granted_while_paused_or_closed(obstacle: str) -> None:
    slots = Slots(1)
    slots.enqueue(A, rank())
    setattr(slots, obstacle, True)
    assert slots.grant() == []
    setattr(slots, obstacle, False)
    assert slots.grant() == [A]
    setattr(slots, obstacle, True)
    assert slots.holds(A) == (obstacle == "paused")


def test_no_slot_is_granted_before_all_expected_keys_are_reconciled() -> None:
    slots = Slots(1)
    slots.expect([A, B])
    slots.enqueue(A, rank(5))
    slots.reconciled(A)
    assert slots.grant() == []
    slots.enqueue(B, rank(0))
    slots.reconciled(B)
    assert slots.grant() == [B]


def test_a_lower_capacity_takes_no_slot_away() -> None:
    slots = Slots(2)
    for key in (A, B, C):
        slots.enqueue(key, rank(place=key[1]))
    assert slots.grant() == [A, B]
    slots.capacity = 1
    slots.release(A)
    assert slots.grant() == []
    slots.release(B)
    assert slots.grant() == [C]


def test_a_running_attempt_acquires_a_slot_even_if_none_is_free() -> None:
    slots = Slots(1)
    slots.acquire(("a", "running"))
    slots.acquire(("b", "running"))
    slots.enqueue(("c", "waiting"), Rank(0, T0, "c/waiting"))
    assert (slots.held, slots.grant()) == (2, [])
    slots.release(("a", "running"))
    assert slots.grant() == []
    slots.release(("b", "running"))
    assert slots.grant() == [("c", "waiting")]


def test_what_metrics_show_of_waiting_keys() -> None:
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


def test_a_new_rank_keeps_the_waiting_time_and_a_release_resets_it() -> None:
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
