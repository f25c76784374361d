"""An operation of the supervisor as the operator sees it: its pipes, its end, and waiting despite cancellation."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from projectsetup.engines.local.supervisor.protocol import Message

T = TypeVar("T")

CHUNK_BYTES: Final = 65_536
_END_LIMIT: Final = 10.0
"""Seconds that the processes of an operation have to end after their supervisor."""


async def wait_for_end(task: asyncio.Future[Any], on_cancel: Callable[[], None]) -> asyncio.CancelledError | None:
    """Wait until `task` is done. A cancellation calls `on_cancel` and is returned, not raised."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    return cancelled


async def shield(work: Coroutine[Any, Any, T], *, on_cancel: Callable[[], None] = lambda: None) -> T:
    """The result of `work`. A cancellation calls `on_cancel` and is raised once `work` has ended."""
    task = asyncio.ensure_future(work)
    cancelled = await wait_for_end(task, on_cancel)
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()
    raise cancelled


class Pipe:
    """A pipe that a process writes to and the event loop reads, in chunks as they arrive, so that memory is bounded."""

    def __init__(self, on_chunk: Callable[[bytes], None]) -> None:
        """Raises OSError when there are too many open files."""
        self._loop = asyncio.get_running_loop()
        self._on_chunk = on_chunk
        self._read_fd: int | None
        self._read_fd, self._write_fd = os.pipe()
        self._writable = True
        self._ended = asyncio.Event()
        os.set_blocking(self._read_fd, False)
        self._loop.add_reader(self._read_fd, self._read)

    @property
    def write_fd(self) -> int:
        """The end to pass to a process."""
        return self._write_fd

    def close_write_end(self) -> None:
        """Close the operator's own copy of the writing end."""
        if self._writable:
            self._writable = False
            os.close(self._write_fd)

    async def ended(self) -> None:
        """Returns when no process holds the writing end any more and everything has been read."""
        await self._ended.wait()

    def close(self) -> None:
        """Read what has been written so far, and no more."""
        while self._read_fd is not None and self._read():
            pass
        self._end()

    def _read(self) -> bool:
        if self._read_fd is None:
            return False
        try:
            chunk = os.read(self._read_fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if chunk:
            self._on_chunk(chunk)
        else:
            self._end()
        return bool(chunk)

    def _end(self) -> None:
        self.close_write_end()
        if self._read_fd is not None:
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
            self._read_fd = None
            self._ended.set()


@dataclass(frozen=True, slots=True)
class OperationEnd:
    """`result` is what the process wrote, None when it wrote nothing; `lost`: its supervisor ended before it."""

    result: Message | None
    lost: bool


class Operation:
    """A step or a removal, from the request to the end of its processes; one of them holds `result` until then."""

    def __init__(self, operation_id: int, stop: Callable[[int], None]) -> None:
        """Raises OSError when there are too many open files."""
        self.id = operation_id
        self._stop = stop
        self._written = bytearray()
        self.result = Pipe(self._written.extend)
        self._lost: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """Send it SIGTERM, and SIGKILL after the grace."""
        self._stop(self.id)

    def finish(self, *, lost: bool) -> None:
        """The supervisor reports that nothing of it is left, or is lost itself."""
        if not self._lost.done():
            self._lost.set_result(lost)

    async def end(self) -> OperationEnd:
        """Wait for the end of its processes; of a lost supervisor's, no more than ten seconds."""
        lost = await self._lost
        try:
            await asyncio.wait_for(self.result.ended(), _END_LIMIT)
        except TimeoutError:
            self.result.close()
        line, newline, _ = bytes(self._written).partition(b"\n")
        return OperationEnd(json.loads(line) if newline else None, lost)
