"""When the watch counts as silent."""

from __future__ import annotations

from dataclasses import dataclass, field

from projectsetup.observe.watch_age import DELIVERY_LIMIT, WatchAge


@dataclass
class World:
    """A watch, and a clock that the test advances."""

    now: float = 0.0
    watch: WatchAge = field(init=False)

    def __post_init__(self) -> None:
        self.watch = WatchAge(lambda: self.now)

    def listed(self, newest: int, *, after: float = DELIVERY_LIMIT) -> bool:
        """Whether the watch counts as silent after another list."""
        self.now += after
        self.watch.listed(newest)
        return self.watch.silent


def test_a_watch_that_missed_what_an_earlier_list_showed_is_silent_until_it_delivers() -> None:
    world = World()
    world.watch.delivered(9)
    assert not world.listed(10)
    assert world.listed(10)
    assert world.watch.problem == "silent: it has missed changes that a list shows"
    assert world.listed(11)
    world.watch.delivered(10)
    assert not world.watch.silent


def test_the_watch_has_time_between_two_lists() -> None:
    world = World()
    assert not world.listed(10)
    for _ in range(9):
        assert not world.listed(11, after=DELIVERY_LIMIT / 10)
    assert world.listed(12, after=DELIVERY_LIMIT / 10)


def test_a_watch_that_is_still_delivering_is_not_silent() -> None:
    world = World()
    world.listed(100)
    for version in range(1, 20):
        world.now += DELIVERY_LIMIT
        world.watch.delivered(version)
        assert not world.listed(100, after=DELIVERY_LIMIT / 2)
    assert world.listed(100)


def test_a_newer_list_does_not_reset_the_limit() -> None:
    world = World()
    world.listed(10)
    assert world.listed(20)
    world.watch.delivered(10)
    assert not world.listed(20)
    assert world.listed(20)


def test_what_was_deleted_need_not_be_delivered() -> None:
    world = World()
    world.watch.delivered(50)
    assert not world.listed(100)
    assert not world.listed(50)
    assert not world.listed(50)
