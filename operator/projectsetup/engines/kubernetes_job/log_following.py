"""Which step of a stage is the current one: its container's log tells."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from projectsetup.engines.kubernetes_job.asking import pauses
from projectsetup.engines.kubernetes_job.report import step_begun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from projectsetup.engines.kubernetes_job.plan import PlannedStage
    from projectsetup.engines.kubernetes_job.ports import JobCluster

LONGEST_LINE: Final = 256
"""Bytes; a longer line is no line of ours."""
QUICK: Final = 2.0
"""Seconds; the log of a stage that is over by then has nothing to tell that its report does not.

The kubelet looks at containers once a second: an end is told up to that much later, and more on a busy node.
"""
PACE: Final = 0.05
"""Seconds between two pieces, so that a step that prints without end does not keep the operator busy."""
LONGEST_PAUSE: Final = 60.0
"""Seconds until a log that cannot be read is asked for again."""
OVERLAP: Final = 5.0
"""Seconds of the log that are read again when the connection was cut."""

_log = logging.getLogger("projectsetup.engine")


class LogFollower:
    """Follows the log of one container at a time; `on_step` is called with the name of a step that has begun.

    `patience`: seconds until a log is asked for.
    """

    def __init__(self, cluster: JobCluster, namespace: str, on_step: Callable[[str], None], *, patience: float) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._on_step = on_step
        self._patience = patience
        self._following: tuple[str, str] | None = None
        self._task: asyncio.Task[None] | None = None

    async def follow(self, pod: str, stage: PlannedStage) -> None:
        """From now on follow this stage, if there is something to be learned of it."""
        if (pod, stage.name) == self._following:
            return
        await self.close()
        self._following = (pod, stage.name)
        if len(stage.steps) > 1:
            self._task = asyncio.create_task(self._follow(pod, stage), name=f"log of {pod}")

    async def close(self) -> None:
        """Follow no more."""
        task, self._task, self._following = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _follow(self, pod: str, stage: PlannedStage) -> None:
        await asyncio.sleep(self._patience)
        to_come = [step.name for step in stage.steps][1:]
        clock = asyncio.get_running_loop().time
        read_at: float | None = None
        for pause in pauses(LONGEST_PAUSE):
            since = None if read_at is None else clock() - read_at + OVERLAP
            pieces = self._cluster.follow_log(self._namespace, pod, stage.name, since=since)
            lines = _Lines()
            try:
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        read_at = clock()
                        for name in filter(None, map(step_begun, lines.feed(piece))):
                            if name in to_come:
                                del to_come[: to_come.index(name) + 1]
                                self._on_step(name)
                        if not to_come:
                            return
                        await asyncio.sleep(PACE)
            except self._cluster.failed as error:
                _log.info("no progress is told meanwhile, trying again: %s", error)
            await asyncio.sleep(pause)


class _Lines:
    """Takes a stream apart into lines, without those that are too long."""

    def __init__(self) -> None:
        self._rest = b""
        self._too_long = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that this piece completes."""
        *complete, rest = piece.split(b"\n")
        for end in complete:
            line, too_long = self._rest + end, self._too_long
            self._rest, self._too_long = b"", False
            if not too_long and len(line) <= LONGEST_LINE:
                yield line
        if len(self._rest) + len(rest) > LONGEST_LINE:
            self._rest, self._too_long = b"", True
        else:
            self._rest += rest
