"""The informer against a collection in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import NoReturn

import pytest

from projectsetup.kube.client import Body
from projectsetup.kube.errors import ApiExpired, ApiUnavailable, ClusterError
from projectsetup.kube.informer import (
    CHECK_AFTER,
    LAST_CHANCE,
    MAX_RETRY_DELAY,
    RETRY_DELAY,
    WATCH_SECONDS,
    Action,
    Change,
    Collection,
    Informer,
    OnError,
)
from tests.support.fake_collection import NAMESPACE, FakeCollection
from tests.support.virtual_time import in_virtual_time, now

EXPIRED = {"code": 410, "message": "too old"}


class Kept:
    """What the informer keeps of one version of an object."""

    def __init__(self, body: Body) -> None:
        self.color: str = body["color"]


class Follower:
    """Runs an informer and records what it reports."""

    def __init__(self, collection: FakeCollection, *, on_error: OnError | None = None) -> None:
        self.batches: list[Sequence[Change[Kept]]] = []
        self.errors: list[tuple[Action, str]] = []
        things = Collection("things", "/things")
        self.informer = Informer(collection, things, keep=Kept, on_error=on_error or self._failed)

    def changed(self, changes: Sequence[Change[Kept]]) -> bool:
        self.batches.append(changes)
        return False

    def _failed(self, action: Action, error: ClusterError) -> None:
        self.errors.append((action, str(error)))

    @property
    def colors(self) -> dict[str, str]:
        return {name: kept.color for (_, name), kept in self.informer.objects.items()}

    @property
    def reported(self) -> list[list[tuple[str, str | None, str | None]]]:
        """Name, color before and color after of each change."""
        return [
            [(change.key[1], _color(change.before), _color(change.after)) for change in batch] for batch in self.batches
        ]


def _color(kept: Kept | None) -> str | None:
    return None if kept is None else kept.color


def red(*names: str) -> FakeCollection:
    """A collection of red things with these names."""
    collection = FakeCollection()
    for name in names:
        collection.put(name, color="red")
    return collection


@asynccontextmanager
async def following(collection: FakeCollection) -> AsyncIterator[Follower]:
    """A follower that has listed the collection and watches it."""
    follower = Follower(collection)
    task = asyncio.create_task(follower.informer.run(follower.changed))
    await until(lambda: follower.informer.listed and collection.open_watches > 0)
    yield follower
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert collection.open_watches == 0


async def until(holds: Callable[[], bool], *, limit: float = 600.0) -> None:
    """Wait until this holds."""
    async with asyncio.timeout(limit):
        while not holds():  # noqa: ASYNC110  # virtual time: this takes none
            await asyncio.sleep(0.01)


@in_virtual_time
async def test_it_reports_the_list_and_then_every_event() -> None:
    collection = red("a", "b", "c")
    async with following(collection) as follower:
        collection.put("d", color="red")
        collection.put("a", color="blue")
        collection.delete("b", color="dead")
        await until(lambda: len(follower.batches) == 4)
        assert follower.reported == [
            [("a", None, "red"), ("b", None, "red"), ("c", None, "red")],
            [("d", None, "red")],
            [("a", "red", "blue")],
            [("b", "dead", None)],  # as it was last seen
        ]
        assert follower.colors == {"a": "blue", "c": "red", "d": "red"}
        assert next(iter(follower.informer.objects))[0] == NAMESPACE
    assert collection.requests == ["list", "watch from 13"]


@in_virtual_time
async def test_a_watch_that_ended_goes_on_from_the_last_event_or_bookmark() -> None:
    collection = FakeCollection()
    async with following(collection) as follower:
        collection.put("a", color="red")
        collection.end_watches()
        await until(lambda: "watch from 11" in collection.requests)
        collection.bookmark()
        collection.end_watches()
        await until(lambda: "watch from 12" in collection.requests)
        assert follower.errors == []
    assert collection.requests.count("list") == 1


@in_virtual_time
async def test_after_an_error_only_what_changed_meanwhile_is_reported() -> None:
    collection = red("a", "b", "c")
    async with following(collection) as follower:
        unchanged = follower.informer.objects[NAMESPACE, "a"]
        collection.deaf = True
        collection.put("b", color="blue")
        collection.delete("c")
        collection.put("d", color="red")
        collection.deaf = False
        collection.send_raw(b'{"type": "ADD\n')  # cut off in the middle of a line
        await until(lambda: len(follower.batches) == 2)
        assert follower.reported[1] == [("c", "red", None), ("b", "red", "blue"), ("d", None, "red")]
        assert follower.informer.objects[NAMESPACE, "a"] is unchanged
        [(action, text)] = follower.errors
        assert action is Action.WATCH
        assert text.startswith("watch things: the answer is incomplete")


@in_virtual_time
async def test_an_event_that_is_known_already_is_not_reported() -> None:
    collection = FakeCollection()
    body = collection.put("a", color="red")
    async with following(collection) as follower:
        collection.send("MODIFIED", body)
        collection.put("b", color="red")
        await until(lambda: len(follower.batches) == 2)
        assert follower.reported[1] == [("b", None, "red")]


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "an event"])
@in_virtual_time
async def test_an_expired_version_is_listed_again_and_only_the_second_time_an_error(refused: bool) -> None:
    collection = FakeCollection()
    async with following(collection) as follower:
        for expected in (0, 1):
            if refused:
                collection.fail_watches.append(ApiExpired("watch things: 410 too old"))
                collection.end_watches()
            else:
                collection.send("ERROR", EXPIRED)
            lists = collection.requests.count("list")
            await until(lambda lists=lists: collection.requests.count("list") > lists)  # type: ignore[misc]
            await until(lambda: collection.open_watches == 1)
            assert follower.errors == [(Action.WATCH, "watch things: 410 too old")] * expected


@in_virtual_time
async def test_failures_are_retried_with_growing_delays_until_the_next_event() -> None:
    collection = FakeCollection()
    failures = [ApiUnavailable("list things: no answer in time") for _ in range(10)]
    async with following(collection) as follower:
        collection.fail_lists = [*failures]
        collection.send("ERROR", {"code": 500, "message": "etcd"})
        await until(lambda: not collection.fail_lists)
        assert follower.errors == [(Action.WATCH, "watch things: 500 etcd")] + [
            (Action.LIST, "list things: no answer in time")
        ] * len(failures)
        delays = [after - before for before, after in pairwise(collection.times[2:])]
        for number, delay in enumerate(delays, start=1):
            least = min(RETRY_DELAY * 2**number, MAX_RETRY_DELAY)
            assert least <= delay <= least * 1.5 + 0.1
        await until(lambda: collection.open_watches == 1)
        collection.put("a", color="red")
        await until(lambda: follower.colors == {"a": "red"})
        began = now()
        collection.send("ERROR", {"code": 500})
        await until(lambda: collection.requests[-2:] == ["list", "watch from 11"])
        assert now() - began < 2 * RETRY_DELAY


@in_virtual_time
async def test_a_server_that_ends_every_watch_at_once_is_not_asked_all_the_time() -> None:
    collection = FakeCollection()
    collection.ends_at_once = True
    follower = Follower(collection)
    task = asyncio.create_task(follower.informer.run(follower.changed))
    await asyncio.sleep(60)
    task.cancel()
    assert 0 < len(collection.requests) <= 60 / RETRY_DELAY + 2


@in_virtual_time
async def test_a_silent_watch_that_has_missed_something_is_replaced() -> None:
    collection = red("gone")
    async with following(collection) as follower:
        collection.deaf = True
        collection.delete("gone")
        collection.put("new", color="red")
        began = now()
        await until(lambda: len(follower.batches) == 2)
        assert now() - began < CHECK_AFTER + LAST_CHANCE + 2 * RETRY_DELAY
        assert follower.reported[1] == [("gone", "red", None), ("new", None, "red")]
        assert follower.errors == [(Action.WATCH, "watch things: it is silent and has missed changes")]


@in_virtual_time
async def test_a_watch_with_nothing_to_report_is_left_alone_and_counts_as_up_to_date() -> None:
    collection = red("a")
    async with following(collection) as follower:
        await asyncio.sleep(4 * CHECK_AFTER + 1)
        assert follower.informer.silence() < CHECK_AFTER
        assert (follower.errors, len(follower.batches)) == ([], 1)
    assert collection.requests == ["list", "watch from 11", *["check"] * 4]


@in_virtual_time
async def test_an_event_that_arrives_while_the_check_runs_is_not_a_failure() -> None:
    collection = FakeCollection()
    async with following(collection) as follower:
        collection.deaf = True
        body = collection.put("a", color="red")
        collection.deaf = False
        await until(lambda: "check" in collection.requests)
        collection.send("ADDED", body)
        await until(lambda: len(follower.batches) == 2)
        assert follower.errors == []


@in_virtual_time
async def test_a_watch_that_does_not_end_in_time_is_replaced() -> None:
    collection = FakeCollection()
    async with following(collection) as follower:
        await asyncio.sleep(WATCH_SECONDS + 2 * CHECK_AFTER + 2)
        assert follower.errors == [(Action.WATCH, "watch things: it did not end in time")]


@in_virtual_time
async def test_it_ends_when_the_callback_says_so_and_can_be_run_again() -> None:
    collection = FakeCollection()
    follower = Follower(collection)
    task = asyncio.create_task(follower.informer.run(lambda changes: len(changes) == 1))
    await until(lambda: collection.open_watches == 1)
    collection.put("a", color="red")
    await task
    assert collection.open_watches == 0
    collection.put("b", color="red")
    await follower.informer.run(lambda changes: follower.changed(changes) or True)
    assert follower.reported == [[("b", None, "red")]]


class Enough(Exception):
    """Raised by a callback."""


@in_virtual_time
async def test_it_ends_with_what_a_callback_raises() -> None:
    def enough(*_: object) -> NoReturn:
        raise Enough

    collection = FakeCollection()
    with pytest.raises(Enough):
        await Follower(collection).informer.run(enough)
    collection.fail_lists = [ApiUnavailable("no")]
    with pytest.raises(Enough):
        await Follower(collection, on_error=enough).informer.run(lambda _: False)
