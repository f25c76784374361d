"""Work that ends although its waiter is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from projectsetup.engines.local.operations import shield


async def test_result_and_error_of_shielded_work_are_passed_on() -> None:
    async def work(error: OSError | None) -> int:
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return 7

    assert await shield(work(None)) == 7
    with pytest.raises(OSError, match="no"):
        await shield(work(OSError("no")))


@pytest.mark.parametrize("error", [None, OSError("no")])
async def test_a_cancellation_waits_for_the_end_of_shielded_work(error: OSError | None) -> None:
    started, proceed = asyncio.Event(), asyncio.Event()
    log: list[str] = []

    async def work() -> None:
        started.set()
        await proceed.wait()
        log.append("ended")
        if error is not None:
            raise error

    waiting = asyncio.create_task(shield(work(), on_cancel=lambda: log.append("cancelled")))
    await started.wait()
    for _ in range(2):
        waiting.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not waiting.done()
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert log == ["cancelled", "cancelled", "ended"]
