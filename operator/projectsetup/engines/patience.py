"""Work that must come to its end although the task that awaits it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T], *, on_cancel: Callable[[], None] = lambda: None) -> T:
    """The result of `work`. A cancellation calls `on_cancel` and goes on when `work` has ended."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()
    raise cancelled
