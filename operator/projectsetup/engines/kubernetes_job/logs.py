"""Follows the log of a stage, which announces each of its steps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from projectsetup.engines.kubernetes_job.client import retry_delays
from projectsetup.engines.kubernetes_job.outcome import announced_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from projectsetup.engines.kubernetes_job.client import JobClient
    from projectsetup.engines.kubernetes_job.plan import PlannedStage

MAX_LINE: Final = 256
"""Bytes; a longer line does not announce a step."""
QUICK: Final = 2.0
"""Seconds; the log of a stage that has ended by then adds nothing to its report.

The kubelet checks containers once a second, so an end is seen up to that much later, and more on a busy node.
"""
PACE: Final = 0.05
"""Seconds between two pieces, so that a step that prints without end does not keep the operator busy."""
MAX_DELAY: Final = 60.0
"""Seconds until an unreadable log is requested again."""
OVERLAP: Final = 5.0
"""Seconds of the log that are read again after the connection was cut."""

_log = logging.getLogger("projectsetup.engine")


class LogFollower:
    """Follows the log of one container at a time; `on_step` is called with the name of each step that begins.

    `delay`: seconds until a log is requested.
    """

    def __init__(self, client: JobClient, namespace: str, on_step: Callable[[str], None], *, delay: float) -> None:
        self._client = client
        self._namespace = namespace
        self._on_step = on_step
        self._delay = delay
        self._following: tuple[str, str] | None = None
        self._task: asyncio.Task[None] | None = None

    async def follow(self, pod: str, stage: PlannedStage) -> None:
        """Follow this stage from now on, unless it has only one step."""
        if (pod, stage.name) == self._following:
            return
        await self.close()
        self._following = (pod, stage.name)
        if len(stage.steps) > 1:
            self._task = asyncio.create_task(self._follow(pod, stage), name=f"log of {pod}")

    async def close(self) -> None:
        """Stop following."""
        task, self._task, self._following = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _follow(self, pod: str, stage: PlannedStage) -> None:
        await asyncio.sleep(self._delay)
        to_come = [step.name for step in stage.steps][1:]
        clock = asyncio.get_running_loop().time
        read_at: float | None = None
        for delay in retry_delays(MAX_DELAY):
            since = None if read_at is None else clock() - read_at + OVERLAP
            pieces = self._client.follow_log(self._namespace, pod, stage.name, since=since)
            lines = _Lines()
            try:
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        read_at = clock()
                        for name in filter(None, map(announced_step, lines.feed(piece))):
                            if name in to_come:
                                del to_come[: to_come.index(name) + 1]
                                self._on_step(name)
                        if not to_come:
                            return
                        await asyncio.sleep(PACE)
            except self._client.failed as error:
                _log.info("progress is unknown until the log can be read; retrying: %s", error)
            await asyncio.sleep(delay)


class _Lines:
    """Splits a stream into lines, leaving out those that are too long."""

    def __init__(self) -> None:
        self._rest = b""
        self._too_long = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the lines that this piece completes."""
        *complete, rest = piece.split(b"\n")
        for end in complete:
            line, too_long = self._rest + end, self._too_long
            self._rest, self._too_long = b"", False
            if not too_long and len(line) <= MAX_LINE:
                yield line
        if len(self._rest) + len(rest) > MAX_LINE:
            self._rest, self._too_long = b"", True
        else:
            self._rest += rest
