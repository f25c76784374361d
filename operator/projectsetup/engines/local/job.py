"""Something that the supervisor does for an attempt, as the operator sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from projectsetup.engines.local.pipes import Pipe

if TYPE_CHECKING:
    from projectsetup.engines.local.supervisor.protocol import Message

_LAST_WORDS: Final = 10.0
"""Seconds that the processes of a job have to end after their supervisor."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """`result` is what the process of the job reported, if it came to that; `lost` tells that its supervisor ended."""

    result: Message | None
    lost: bool


class Job:
    """From the request to the end of all its processes. Its process holds the writing end of `result` all the time."""

    def __init__(self, job_id: int, stop: Callable[[int], None]) -> None:
        """Raises OSError when there are too many open files."""
        self.id = job_id
        self._stop = stop
        self._reported = bytearray()
        self.result = Pipe(self._reported.extend)
        self._over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """Ask for its end: SIGTERM, and SIGKILL after the grace."""
        self._stop(self.id)

    def over(self, *, lost: bool) -> None:
        """The supervisor says that nothing of it is left, or is lost itself."""
        if not self._over.done():
            self._over.set_result(lost)

    async def end(self) -> JobEnd:
        """Wait for the end of its processes. After a loss they may live on only if they do not end within seconds."""
        lost = await self._over
        try:
            await asyncio.wait_for(self.result.ended(), _LAST_WORDS)
        except TimeoutError:
            self.result.close()
        line, newline, _ = bytes(self._reported).partition(b"\n")
        return JobEnd(json.loads(line) if newline else None, lost)
