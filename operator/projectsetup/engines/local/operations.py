"""An operation of the supervisor as the operator sees it: its pipes, its end, and waiting despite cancellation."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Callable, Coroutine
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

    def __init__(self) -> None:
        """Raises OSError when there are too many open files."""
        self._loop = asyncio.get_running_loop()
        self._on_chunk: Callable[[bytes], None] = lambda _: None
        self._read_fd: int | None
        self._read_fd, self._write_fd = os.pipe()
        self._writable = True
        self._ended = asyncio.Event()
        os.set_blocking(self._read_fd, False)

    def read(self, on_chunk: Callable[[bytes], None]) -> None:
        """Read it from now on, if it is open."""
        self._on_chunk = on_chunk
        if self._read_fd is not None:
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


class Operation:
    """Steps or a removal, from the request to the end of its processes; one of them holds `results` until then."""

    def __init__(self, operation_id: int, stop: Callable[[int, int | None], None]) -> None:
        """Raises OSError when there are too many open files."""
        self.id = operation_id
        self._stop = stop
        self._line = b""
        self._received: deque[Message] = deque()
        self._awaited: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.results = Pipe()
        self.results.read(self._receive)

    def stop(self, step: int | None = None) -> None:
        """Send SIGTERM to the step that runs, and SIGKILL after the grace, and run no other.

        With `step`, a number from 0, only if that step still runs.
        """
        self._stop(self.id, step)

    def finish(self, *, lost: bool) -> None:
        """The supervisor reports that nothing of it is left, or is lost itself."""
        if not self._lost.done():
            self._lost.set_result(lost)
            self._wake()

    @property
    def has_result(self) -> bool:
        """Whether a result has arrived that nobody has taken."""
        return bool(self._received)

    def next_result(self) -> Message | None:
        """Take the next result that has arrived."""
        return self._received.popleft() if self._received else None

    def progress(self) -> asyncio.Future[None]:
        """Done once a result can be taken, or the operation has ended. Only one task may wait for it."""
        self._awaited = asyncio.get_running_loop().create_future()
        if self._received or self._lost.done():
            self._wake()
        return self._awaited

    async def end(self) -> bool:
        """Wait for the end of its processes; of a lost supervisor's, no more than ten seconds. True if it was lost."""
        lost = await self._lost
        try:
            await asyncio.wait_for(self.results.ended(), _END_LIMIT)
        except TimeoutError:
            self.results.close()
        return lost

    def _receive(self, chunk: bytes) -> None:
        *lines, self._line = (self._line + chunk).split(b"\n")
        self._received.extend(map(json.loads, lines))
        self._wake()

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)
