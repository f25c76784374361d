"""The start order and who holds a slot."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.api.limits import LimitKind, Limits
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


@pytest.mark.parametrize(
    ("limits", "first"),
    [
        (Limits(), ["a1", "a2", "b1", "b2"]),
        (Limits(per_namespace=1), ["a1", "b1"]),
        (Limits(per_namespace=0), []),
        (Limits(per_recipe={"x": 1}), ["a1", "b1", "b2"]),
        (Limits(paused_recipes=frozenset("x")), ["b1", "b2"]),
        (Limits(per_recipe={"y": 0}, paused_recipes=frozenset({"other"})), ["a1", "a2"]),
        (Limits(per_namespace=1, per_recipe={"x": 0, "y": 1}), ["b1"]),
    ],
)
def test_who_has_reached_a_limit_is_passed_over(limits: Limits, first: list[str]) -> None:
    slots = Slots(9)
    slots.limit(limits)
    for second, name in enumerate(("a1", "a2", "b1", "b2")):
        slots.enqueue((name[0], name), rank(1, second), "x" if name[0] == "a" else "y")
    assert [name for _, name in slots.grant()] == first
    assert slots.waiting == 4 - len(first)


def test_who_was_passed_over_starts_in_order_once_the_limit_allows_it() -> None:
    slots = Slots(9)
    slots.limit(Limits(per_namespace=1))
    for second in range(3):
        slots.enqueue(("a", str(second)), rank(1, second))
    assert slots.grant() == [("a", "0")]
    slots.enqueue(("a", "urgent"), rank(0, 9))
    assert (slots.grant(), slots.limited()) == ([], {LimitKind.NAMESPACE: 3})
    slots.release(("a", "0"))
    assert slots.grant() == [("a", "urgent")]
    slots.limit(Limits(per_namespace=3))
    assert slots.grant() == [("a", "1"), ("a", "2")]
    assert slots.limited() == {}


def test_attempts_that_run_already_count_even_above_a_limit_that_comes_later() -> None:
    slots = Slots(9)
    for name in "12":
        slots.acquire(("a", name), "x")
    slots.enqueue(("b", "waits"), rank(), "x")
    slots.limit(Limits(per_recipe={"x": 1}))
    assert (slots.grant(), slots.held, slots.limited()) == ([], 2, {LimitKind.RECIPE: 1})
    slots.release(("a", "1"))
    assert slots.grant() == []
    slots.release(("a", "2"))
    assert slots.grant() == [("b", "waits")]


def test_thousands_of_urgent_setups_of_one_namespace_do_not_keep_another_waiting() -> None:
    slots = Slots(4)
    slots.limit(Limits(per_namespace=3))
    for number in range(5000):
        slots.enqueue(("busy", str(number)), rank(0, number))
    assert len(slots.grant()) == 3
    slots.enqueue(("calm", "only"), rank(9, 9999))
    assert slots.grant() == [("calm", "only")]


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    kinds = st.sampled_from(["enqueue", "enqueue", "enqueue", "release", "grant", "limit", "acquire"])
    return draw(st.lists(st.tuples(kinds, st.integers(0, 35), st.integers(0, 9)), max_size=60))


LIMITS = [
    Limits(),
    Limits(per_namespace=1),
    Limits(per_namespace=2, per_recipe={"r0": 1, "r1": 2}),
    Limits(per_recipe={"r0": 3}, paused_recipes=frozenset({"r2"})),
    Limits(per_namespace=0),
]


@given(_steps(), st.integers(0, 6))
def test_whatever_happens_slots_go_to_the_first_whom_the_limits_allow(
    steps: list[tuple[str, int, int]], capacity: int
) -> None:
    """Compared with a search through all that wait."""
    slots, limits = Slots(capacity), Limits()
    waiting: dict[Key, Rank] = {}
    holders: set[Key] = set()

    def recipe(key: Key) -> str:
        return f"r{int(key[1]) % 3}"

    def next_of_all() -> Key | None:
        running = Counter(limit for key in holders for limit in limits.of(key[0], recipe(key)))
        free = [key for key in waiting if limits.reached(limits.of(key[0], recipe(key)), running) is None]
        return min(free, key=lambda key: (waiting[key], key), default=None) if len(holders) < capacity else None

    for kind, number, value in steps:
        key = (f"n{number % 4}", str(number))
        if kind == "enqueue" and key not in holders:
            waiting[key] = rank(value % 3, number, "/".join(key))
            slots.enqueue(key, waiting[key], recipe(key))
        elif kind == "release":
            waiting.pop(key, None)
            holders.discard(key)
            slots.release(key)
        elif kind == "acquire":
            waiting.pop(key, None)
            holders.add(key)
            slots.acquire(key, recipe(key))
        elif kind == "limit":
            limits = LIMITS[value % len(LIMITS)]
            slots.limit(limits)
        elif kind == "grant":
            expected = []
            while (first := next_of_all()) is not None:
                expected.append(first)
                holders.add(first)
                del waiting[first]
            assert slots.grant() == expected
        running = Counter(limit for key in holders for limit in limits.of(key[0], recipe(key)))
        reached = [limits.reached(limits.of(key[0], recipe(key)), running) for key in waiting]
        assert slots.limited() == Counter(limit.kind for limit in reached if limit is not None)
        assert (slots.waiting, slots.held) == (len(waiting), len(holders))
