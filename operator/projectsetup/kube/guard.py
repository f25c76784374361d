"""The check of who leads at the moment when a request leaves, however long it has waited for a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection

Check = Callable[[], None]
"""Raises when nothing may be written now."""

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def guarded(check: Check) -> type[aiohttp.ClientRequest]:
    """The requests of a session of aiohttp of which none that changes something is sent before `check` allows it."""

    class GuardedRequest(aiohttp.ClientRequest):
        async def send(self, conn: Connection) -> aiohttp.ClientResponse:
            """Send it, or begin to: a request with a body is sent by a task, in `write_bytes`."""
            self._check()
            return await super().send(conn)

        async def write_bytes(
            self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
        ) -> None:
            """Send headers and body; without a right to that, the connection is closed, as who waits is told."""
            try:
                self._check()
            except Exception:  # noqa: BLE001  # whatever says that nothing may be written now
                conn.close()
            else:
                await super().write_bytes(writer, conn, content_length)

        def _check(self) -> None:
            if self.method not in _READING:
                check()

    return GuardedRequest
