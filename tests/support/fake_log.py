"""The log of a container as a kubelet keeps and sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
PIECE: Final = 65_536


class FakeLog:
    """Lines with the time at which they were printed, and who follows them."""

    def __init__(self) -> None:
        self.unanswered = 0
        """Number of requests that fail."""
        self.removed = False
        """The kubelet has removed the container."""
        self.silent = False
        """No request is answered."""
        self._lines: list[tuple[str, bytes]] = []
        self._deleted = 0
        self._unfinished = ""
        self._ended = False
        self._cuts = 0
        self._changed = asyncio.Event()

    def print(self, text: str, *, nanoseconds: int | None = None) -> None:
        """Print something now, or at this fraction of the second."""
        moment = START + timedelta(seconds=asyncio.get_running_loop().time())
        fraction = moment.microsecond * 1000 if nanoseconds is None else nanoseconds
        at = f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09}Z"
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        self._lines += [(at, f"{line}\n".encode()) for line in lines]
        self._notify()

    def end(self) -> None:
        """The container ends."""
        if self._unfinished:
            self.print("\n")
            at, last = self._lines.pop()
            self._lines.append((at, last[:-1]))
        self._ended = True
        self._notify()

    def cut(self) -> None:
        """Cut the connections that follow the log."""
        self._cuts += 1
        self._notify()

    def rotate(self) -> None:
        """Delete what was printed until now."""
        self._deleted = len(self._lines)

    async def read(self, since: str | None, tail: int | None, *, follow: bool) -> AsyncGenerator[bytes]:
        """Yield the log as the kubelet sends it."""
        if self.silent:
            await asyncio.Event().wait()
        if self.unanswered:
            self.unanswered -= 1
            raise TimeoutError
        if self.removed:
            yield b"unable to retrieve container logs for containerd://abc"
            return
        cuts, at = self._cuts, self._deleted
        if tail is not None:
            at = max(at, len(self._lines) - tail)
        while True:
            lines = self._lines[at:]
            at = len(self._lines)
            sent = b"".join(f"{time} ".encode() + line for time, line in lines if since is None or time >= since[:-1])
            for start in range(0, len(sent), PIECE):
                yield sent[start : start + PIECE]
            if self._cuts > cuts or not follow or (self._ended and at == len(self._lines)):
                return
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
