"""The queue of keys to reconcile."""

from __future__ import annotations

import asyncio

from projectsetup.controller.workqueue import Key, WorkQueue

A, B, C = ("ns", "a"), ("ns", "b"), ("ns", "c")


async def taken(queue: WorkQueue) -> Key:
    async with asyncio.timeout(5):
        return await queue.take()


async def test_a_key_that_is_added_twice_comes_once() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert [await taken(queue), await taken(queue)] == [A, B]
    assert len(queue) == 0


async def test_the_earlier_of_two_times_counts() -> None:
    queue = WorkQueue()
    queue.add(A, delay=3600)
    queue.add(B, delay=0.05)
    queue.add(B, delay=3600)
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


async def test_a_key_that_is_added_while_a_worker_has_it_comes_once_more_when_that_is_done() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await taken(queue) == A
    queue.add(A)
    queue.add(B)
    assert await taken(queue) == B
    queue.done(A)
    assert await taken(queue) == A
    queue.done(A)
    assert len(queue) == 0
    queue.add(C)
    assert await taken(queue) == C
