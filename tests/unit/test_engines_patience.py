"""Work that comes to its end although the one who waits for it is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from projectsetup.engines.patience import uninterrupted


async def test_the_result_comes_back() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await uninterrupted(work()) == 7


async def test_an_error_comes_back() -> None:
    async def work() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await uninterrupted(work())


@pytest.mark.parametrize("error", [None, OSError("no")])
async def test_a_cancellation_waits_for_the_end_of_the_work(error: OSError | None) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    asked: list[str] = []

    async def work() -> None:
        begun.set()
        await go_on.wait()
        asked.append("ended")
        if error is not None:
            raise error

    waiting = asyncio.create_task(uninterrupted(work(), on_cancel=lambda: asked.append("cancelled")))
    await begun.wait()
    for _ in range(2):
        waiting.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asked == ["cancelled", "cancelled", "ended"]
