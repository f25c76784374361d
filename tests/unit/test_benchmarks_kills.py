"""What the benchmark of kills counts, and how it compares."""

from __future__ import annotations

from math import inf
from urllib.request import urlopen

import pytest

from benchmarks.kills import Aftermath, comparisons, goals, table
from benchmarks.step_calls import step_calls


def test_every_run_of_every_step_is_counted() -> None:
    with step_calls("127.0.0.1") as calls:
        for name, number in (("a", 0), ("a", 1), ("b", 0), ("a", 0), ("a", 0)):
            urlopen(f"{calls.url}/{name}/{number}", timeout=10).close()  # noqa: S310  # its own server
        assert calls.repeated("a", "b") == 2
        assert calls.repeated("b") == 0
        first, second = calls.wait_for("a", 0, limit=1), calls.wait_for("a", 1, limit=1)
        assert first < second  # the first start counts
        with pytest.raises(RuntimeError, match="step 7 of a to start"):
            calls.wait_for("a", 7, limit=0)


@pytest.mark.parametrize(
    ("new_work", "reported", "repeated", "met"),
    [
        (2.0, 1.0, 0, [True, True, True]),
        (2.1, 1.0, 0, [False, True, True]),
        (2.0, 3.1, 0, [True, False, True]),
        (2.0, 1.0, 1, [True, True, False]),
    ],
)
def test_ours_must_be_ahead_of_the_best_peer(new_work: float, reported: float, repeated: int, met: list[bool]) -> None:
    ours = [Aftermath("ours", 1.0, new_work, reported, repeated)]
    peers = [[Aftermath("slow", 1.0, 60.0, 3.0, 0)], [Aftermath("quick", 1.0, 2.0, 4.0, 3)]]
    assert [goal.met for goal in goals(ours, peers)] == met


def test_kills_are_summed_up_as_medians_and_repeated_steps_as_a_sum() -> None:
    ours = [Aftermath("ours", 1.0, new_work, 0.1, repeated) for new_work, repeated in ((9.0, 0), (2.0, 1), (3.0, 1))]
    peer = [Aftermath("peer", inf, 4.0, inf, 0, limit=330)]
    assert table([ours, peer]).rows == [
        ["ours", "3", "1", "3", "0.1", "2"],
        ["peer", "1", "not within 330", "4", "not within 330", "0"],
    ]
    next_step, new_work, _, repeated = comparisons([ours, peer])
    assert [contender.figure for contender in next_step.contenders] == ["1", "more than 330"]
    assert [contender.rounds for contender in new_work.contenders] == [[9.0, 2.0, 3.0], [4.0]]
    assert [comparison.rank(comparison.contenders[1]) for comparison in (next_step, repeated)] == ["better", "worse"]
    assert [goal.met for goal in goals(ours, [peer])] == [True, True, False]


@pytest.mark.parametrize(
    ("ours", "peers", "met"), [(4, [4, 5], True), (5, [4, 5], False), (0, [], True), (1, [], False)]
)
def test_ours_may_run_as_many_steps_twice_as_the_best_peer_that_finished(
    ours: int, peers: list[int], met: bool
) -> None:
    stuck = Aftermath("stuck", inf, 1.0, inf, 0, limit=60)
    finished = [[Aftermath("peer", 1.0, 1.0, 1.0, repeated)] for repeated in peers]
    assert goals([Aftermath("ours", 1.0, 1.0, 1.0, ours)], [[stuck], *finished])[2].met == met
