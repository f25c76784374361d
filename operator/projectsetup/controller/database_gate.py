"""Whether the database serves reads and writes: one prober asks, so that a thousand waiting objects need not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from projectsetup.observe.logs import get_logger
from projectsetup.projects.errors import DatabaseUnavailable

PROBE_PERIOD = 1.0
"""Seconds between two questions while the database is unavailable."""
CHECK_PERIOD = 10.0
"""Seconds between two questions while it is available."""
STEADY = 60.0
"""Seconds for which it must have been available, or the next failure counts as a relapse."""
LONGEST_PAUSE = 30.0
"""Most seconds before the first question after a relapse: the pause doubles with each."""

_log = get_logger("database")


class DatabaseGate:
    """Shut while the database is unavailable; who waits for it is called when it is back.

    `ping` asks what can be asked often; `try_write` must fail of all that a write fails of. What neither of them sees
    opens the gate too early: the pause after each relapse keeps that from becoming a busy loop.
    """

    def __init__(self, ping: Callable[[], Awaitable[None]], try_write: Callable[[], Awaitable[None]]) -> None:
        self._ping = ping
        self._try_write = try_write
        self._waiting: list[Callable[[], None]] = []
        self._shut = asyncio.Event()
        self._asked_at = self._opened_at = float("-inf")
        self._pause = PROBE_PERIOD
        self.shut_because: str | None = None

    def when_back(self, callback: Callable[[], None]) -> None:
        """Call this whenever the database is back."""
        self._waiting.append(callback)

    def shut(self, why: str) -> None:
        """The database did not do what it was asked."""
        if self.shut_because is None:
            _log.warning("database unavailable; waiting for it", error=why)
            has_relapsed = _now() - self._opened_at < STEADY
            self._pause = min(self._pause * 2, LONGEST_PAUSE) if has_relapsed else PROBE_PERIOD
        self.shut_because = why
        self._shut.set()

    async def watch(self) -> None:
        """Ask the database, for ever."""
        while True:
            await self._ask()
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_PERIOD):
                    await self._shut.wait()
            if self.shut_because is not None:
                await asyncio.sleep(self._asked_at + self._pause - _now())

    async def _ask(self) -> None:
        self._asked_at = _now()
        try:
            await (self._ping() if self.shut_because is None else self._try_write())
        except DatabaseUnavailable as error:
            self.shut(str(error))
            self._pause = PROBE_PERIOD
        else:
            self._open()

    def _open(self) -> None:
        self._shut.clear()
        if self.shut_because is None:
            return
        self.shut_because = None
        self._opened_at = _now()
        _log.info("database available again")
        for callback in self._waiting:
            callback()


def _now() -> float:
    return asyncio.get_running_loop().time()
