"""The start order and who holds a slot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projectsetup.api.limits import Limit, LimitKind, Limits
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


Step: TypeAlias = tuple[str, int, int]
"""What happens, to the setup with which number, and a value that says more."""
ENQUEUE, RELEASE, GRANT, LIMIT, ACQUIRE = "enqueue", "release", "grant", "limit", "acquire"
STEPS = st.lists(
    st.tuples(
        st.sampled_from([ENQUEUE, ENQUEUE, ENQUEUE, RELEASE, RELEASE, GRANT, GRANT, LIMIT, ACQUIRE]),
        st.integers(0, 11),
        st.integers(0, 8),
    ),
    max_size=60,
)
RECIPES = ("r0", "r1", "r2")
LIMITS = [
    Limits(per_recipe={"r0": 3}, paused_recipes=frozenset({"r2"})),
    Limits(),
    Limits(per_namespace=1),
    Limits(per_namespace=2, per_recipe={"r0": 1, "r1": 2}),
    Limits(per_namespace=0),
]
_RECREATED: list[Step] = [(LIMIT, 0, 0), *((ENQUEUE, number, 0) for number in range(3)), (RELEASE, 1, 0)]
"""Setup 1 was deleted; created again in the same second with value 6, it has the same rank and a paused recipe."""
_HOLDER_RECREATED: list[Step] = [(LIMIT, 0, 0), (ENQUEUE, 1, 0), (GRANT, 0, 0), (ENQUEUE, 1, 6), (GRANT, 0, 0)]
"""The same between its slot and its start."""


@dataclass
class _Search:
    """What `Slots` promises, by a search through all that wait."""

    capacity: int
    limits: Limits = field(default_factory=Limits)
    waiting: dict[Key, tuple[Rank, str]] = field(default_factory=dict)
    holders: dict[Key, str] = field(default_factory=dict)

    def reached(self, key: Key) -> Limit | None:
        running = Counter(limit for (ns, _), recipe in self.holders.items() for limit in self.limits.of(ns, recipe))
        return self.limits.reached(self.limits.of(key[0], self.waiting[key][1]), running)

    def grant(self) -> list[Key]:
        granted = []
        while len(self.holders) < self.capacity:
            first = min(
                (key for key in self.waiting if self.reached(key) is None),
                key=lambda key: (self.waiting[key][0], key),
                default=None,
            )
            if first is None:
                break
            granted.append(first)
            self.holders[first] = self.waiting.pop(first)[1]
        return granted

    def release(self, key: Key) -> None:
        self.waiting.pop(key, None)
        self.holders.pop(key, None)

    def limited(self) -> Counter[LimitKind]:
        return Counter(limit.kind for limit in map(self.reached, self.waiting) if limit is not None)


@given(STEPS, st.integers(0, 6))
@example([*_RECREATED, (ENQUEUE, 1, 6), (GRANT, 0, 0), (RELEASE, 0, 0), (GRANT, 0, 0)], 1)
@example([*_RECREATED, (ENQUEUE, 1, 6), (RELEASE, 0, 0), (RELEASE, 1, 0), (GRANT, 0, 0)], 1)
@example(_HOLDER_RECREATED, 1)
def test_whatever_happens_slots_go_to_the_first_whom_the_limits_allow(steps: list[Step], capacity: int) -> None:
    slots, search = Slots(capacity), _Search(capacity)
    for kind, number, value in steps:
        key, recipe = (f"n{number % 4}", str(number)), RECIPES[value // 3]
        if kind == ENQUEUE and search.holders.get(key) != recipe:
            search.release(key)
            search.waiting[key] = rank(value % 3, number, "/".join(key)), recipe
            slots.enqueue(key, *search.waiting[key])
        elif kind == RELEASE:
            search.release(key)
            slots.release(key)
        elif kind == ACQUIRE:
            search.waiting.pop(key, None)
            search.holders.setdefault(key, recipe)
            slots.acquire(key, recipe)
        elif kind == LIMIT:
            search.limits = LIMITS[value % len(LIMITS)]
            slots.limit(search.limits)
        elif kind == GRANT:
            assert slots.grant() == search.grant()
        assert slots.limited() == search.limited()
        assert (slots.waiting, slots.held) == (len(search.waiting), len(search.holders))
        assert all(slots.holds(key, each) == (search.holders.get(key) == each) for each in RECIPES)
