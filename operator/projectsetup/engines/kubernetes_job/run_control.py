"""What the controller asks of an attempt while it runs: to stop, or to be left running."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from projectsetup.engines.base import LeftRunning
from projectsetup.setup.types import SetupOutcome

JOB_CREATION_LIMIT: Final = 5.0
"""Seconds in which an attempt that is to be left running must have created its Job."""


class RunControl:
    """`stopping` is set when the attempt must end with everything that belongs to it; this wakes whoever waits."""

    def __init__(self) -> None:
        self.stopping = False
        self._job_exists = asyncio.Event()
        self._woken = asyncio.Event()

    def stop(self) -> None:
        """Request the end of the attempt."""
        self.stopping = True
        self.wake()

    def job_exists(self) -> None:
        """Report that the Job exists, so that the attempt can be left running."""
        self._job_exists.set()

    def wake(self) -> None:
        """Report that something has changed."""
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        """Return True once something has changed since the last wait, False after this time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        woken = self._woken.is_set()
        self._woken.clear()
        return woken

    async def until_job_exists(self) -> None:
        """Return once the attempt can be left running."""
        await self._job_exists.wait()


async def controlled(
    run: Callable[[RunControl], Coroutine[Any, Any, SetupOutcome]], leave: asyncio.Event
) -> SetupOutcome:
    """Return the outcome of `run`. When cancelled, ask it to stop, and wait until it has ended.

    Once `leave` is set, raise LeftRunning instead; if cancelled as well, at once.
    """
    control = RunControl()
    task = asyncio.create_task(run(control))
    leaving = asyncio.create_task(leave.wait())
    try:
        while not (task.done() or leave.is_set()):
            try:
                await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                if leave.is_set() and not task.done():
                    raise LeftRunning from None
                control.stop()
        if not (task.done() or control.stopping):
            await _until_job_exists(task, control)
        if task.done():
            return task.result()
    finally:
        leaving.cancel()
        await _abandon(task)
    raise LeftRunning


async def _until_job_exists(task: asyncio.Task[SetupOutcome], control: RunControl) -> None:
    exists = asyncio.create_task(control.until_job_exists())
    try:
        with contextlib.suppress(asyncio.CancelledError):  # then the attempt is left at once
            await asyncio.wait({task, exists}, timeout=JOB_CREATION_LIMIT, return_when=asyncio.FIRST_COMPLETED)
    finally:
        exists.cancel()


async def _abandon(task: asyncio.Task[SetupOutcome]) -> None:
    task.cancel()
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
