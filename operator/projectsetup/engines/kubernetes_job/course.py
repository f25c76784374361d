"""What a run is asked for while it goes on: to stop, or to be left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from projectsetup.engines.base import LeftRunning
from projectsetup.setup.outcome import SetupOutcome

START_LIMIT: Final = 5.0
"""Seconds that a run which is to be left alone has to make its Job first."""


class Course:
    """`stopping` tells that the run is to end with all that belongs to it; whoever waits is woken then."""

    def __init__(self) -> None:
        self.stopping = False
        self._begun = asyncio.Event()
        self._moved = asyncio.Event()

    def stop(self) -> None:
        """Ask for the end."""
        self.stopping = True
        self.wake()

    def begun(self) -> None:
        """What outlives the operator is there: the run can be left alone."""
        self._begun.set()

    def wake(self) -> None:
        """Something has changed."""
        self._moved.set()

    async def wait(self, seconds: float) -> bool:
        """Return True when something has changed since the last wait, False after this time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        moved = self._moved.is_set()
        self._moved.clear()
        return moved

    async def until_begun(self) -> None:
        """Return when the run can be left alone."""
        await self._begun.wait()


async def conduct(run: Callable[[Course], Coroutine[Any, Any, SetupOutcome]], leave: asyncio.Event) -> SetupOutcome:
    """The outcome of `run`; cancelled, it asks the run to stop and goes on until it has ended.

    Once `leave` is set it raises LeftRunning instead, and does so at once when it is cancelled too.
    """
    course = Course()
    task = asyncio.create_task(run(course))
    leaving = asyncio.create_task(leave.wait())
    try:
        while not (task.done() or leave.is_set()):
            try:
                await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                if leave.is_set() and not task.done():
                    raise LeftRunning from None
                course.stop()
        if not (task.done() or course.stopping):
            await _until_begun(task, course)
        if task.done():
            return task.result()
    finally:
        leaving.cancel()
        await _abandon(task)
    raise LeftRunning


async def _until_begun(task: asyncio.Task[SetupOutcome], course: Course) -> None:
    begun = asyncio.create_task(course.until_begun())
    try:
        with contextlib.suppress(asyncio.CancelledError):  # then it is left at once
            await asyncio.wait({task, begun}, timeout=START_LIMIT, return_when=asyncio.FIRST_COMPLETED)
    finally:
        begun.cancel()


async def _abandon(task: asyncio.Task[SetupOutcome]) -> None:
    task.cancel()
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
