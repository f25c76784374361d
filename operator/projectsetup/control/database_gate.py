"""Whether the database answers: one prober asks, so that a thousand waiting objects need not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from projectsetup.observe.logs import get_logger
from projectsetup.projects.errors import DatabaseUnavailable

PROBE_PERIOD = 1.0
"""Seconds between two questions while the database is away."""
CHECK_PERIOD = 10.0
"""Seconds between two questions while it is there."""

_log = get_logger("database")


class DatabaseGate:
    """Shut while the database is away; who waits for it is called when it is back."""

    def __init__(self, ping: Callable[[], Awaitable[None]]) -> None:
        self._ping = ping
        self._waiting: list[Callable[[], None]] = []
        self._shut = asyncio.Event()
        self.shut_because: str | None = None

    def when_back(self, callback: Callable[[], None]) -> None:
        """Call this whenever the database is back."""
        self._waiting.append(callback)

    def shut(self, why: str) -> None:
        """The database did not answer."""
        if self.shut_because is None:
            _log.warning("the database is away; what needs it waits", error=why)
        self.shut_because = why
        self._shut.set()

    async def watch(self) -> None:
        """Ask the database, for ever."""
        while True:
            try:
                await self._ping()
            except DatabaseUnavailable as error:
                self.shut(str(error))
            else:
                self._open()
            if self.shut_because is not None:
                await asyncio.sleep(PROBE_PERIOD)
                continue
            try:
                async with asyncio.timeout(CHECK_PERIOD):
                    await self._shut.wait()
            except TimeoutError:
                continue

    def _open(self) -> None:
        self._shut.clear()
        if self.shut_because is None:
            return
        self.shut_because = None
        _log.info("the database is back")
        for callback in self._waiting:
            callback()
