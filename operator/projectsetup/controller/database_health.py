"""Whether the database serves reads and writes: one task probes it, on behalf of every ProjectSetup that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from projectsetup.observe.logs import get_logger
from projectsetup.projects.errors import DatabaseUnavailable

PROBE_PERIOD = 1.0
"""Seconds between two probes while the database is unavailable."""
CHECK_PERIOD = 10.0
"""Seconds between two probes while it is available."""
STEADY = 60.0
"""The database must have been available for so many seconds, or the next failure counts as a relapse."""
LONGEST_PAUSE = 30.0
"""Most seconds before the first probe after a relapse: the pause doubles with each relapse."""

_log = get_logger("database")


class DatabaseHealth:
    """`problem` says why the database is unavailable, or is None; callbacks run when it recovers.

    `ping` may be called often; `try_write` must fail whenever a write would fail. A failure that neither of them
    detects makes the database look available too early: the pause after each relapse prevents a busy loop.
    """

    def __init__(self, ping: Callable[[], Awaitable[None]], try_write: Callable[[], Awaitable[None]]) -> None:
        self._ping = ping
        self._try_write = try_write
        self._callbacks: list[Callable[[], None]] = []
        self._is_down = asyncio.Event()
        self._probed_at = self._recovered_at = float("-inf")
        self._pause = PROBE_PERIOD
        self.problem: str | None = None

    def on_recovery(self, callback: Callable[[], None]) -> None:
        """Call this whenever the database is available again."""
        self._callbacks.append(callback)

    def mark_down(self, problem: str) -> None:
        """Note that the database failed; `problem` is one line."""
        if self.problem is None:
            _log.warning("database unavailable; waiting for it", error=problem)
            has_relapsed = _now() - self._recovered_at < STEADY
            self._pause = min(self._pause * 2, LONGEST_PAUSE) if has_relapsed else PROBE_PERIOD
        self.problem = problem
        self._is_down.set()

    async def watch(self) -> None:
        """Probe the database forever."""
        while True:
            await self._probe()
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_PERIOD):
                    await self._is_down.wait()
            if self.problem is not None:
                await asyncio.sleep(self._probed_at + self._pause - _now())

    async def _probe(self) -> None:
        self._probed_at = _now()
        try:
            await (self._ping() if self.problem is None else self._try_write())
        except DatabaseUnavailable as error:
            self.mark_down(str(error))
            self._pause = PROBE_PERIOD
        else:
            self._mark_up()

    def _mark_up(self) -> None:
        self._is_down.clear()
        if self.problem is None:
            return
        self.problem = None
        self._recovered_at = _now()
        _log.info("database available again")
        for callback in self._callbacks:
            callback()


def _now() -> float:
    return asyncio.get_running_loop().time()
