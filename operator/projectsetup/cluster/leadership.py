"""Leader election by a Lease: one operator acts, the others stand by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from projectsetup.cluster.errors import ApiConflict, ClusterError
from projectsetup.cluster.leader import LeaseLost
from projectsetup.cluster.lease import LeaseClient, LeaseRecord
from projectsetup.observe.logs import get_logger

LEASE_DURATION = 30
"""Seconds after which a Lease that was not renewed may be taken."""
RENEW_PERIOD = 5.0
RENEW_DEADLINE = 20.0
"""Seconds without a renewal after which the leader stops."""
LAST_WORD = 26.0
"""Seconds after the last renewal up to which what has ended may still be told to the database."""
RETRY_PERIOD = 1.0
CALL_TIMEOUT = 4.0

_log = get_logger("leadership")


def boot_clock() -> float:
    """Seconds since the boot; it goes on while the machine sleeps and while this process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leadership:
    """Takes, renews and gives back the Lease; `check` guards every write."""

    def __init__(
        self,
        lease: LeaseClient,
        identity: str,
        *,
        is_dead: Callable[[str], bool],
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self.identity = identity
        self._lease = lease
        self._is_dead = is_dead
        self._clock = clock
        self._held: LeaseRecord | None = None
        self._renewed_at = float("-inf")
        self._ending = False

    def check(self) -> None:
        """Raise LeaseLost unless the Lease was renewed not longer than the renew deadline ago.

        While this operator ends because it could not renew, what has ended may still be told: until just before the
        Lease can be taken by another.
        """
        limit = LAST_WORD if self._ending else RENEW_DEADLINE
        if self._clock() >= self._renewed_at + limit:
            raise LeaseLost(f"the Lease was not renewed for {limit:.0f} s")

    def allow_last_word(self) -> None:
        """From now on `check` allows writes until just before another operator can lead."""
        self._ending = True

    async def acquire(self) -> None:
        """Return when this operator holds the Lease, however long that takes."""
        seen: LeaseRecord | None = None
        seen_at = self._clock()
        while True:
            try:
                began = self._clock()
                current = await self._lease.read()
                if current is None or seen is None or current.resource_version != seen.resource_version:
                    seen, seen_at = current, began
                if self._is_free(current, unchanged_for=began - seen_at):
                    await self._take(current, began)
                    return
            except ApiConflict:
                _log.debug("another operator was faster to take the Lease")
            except ClusterError as error:
                _log.warning("cannot reach the Lease, trying again", error=str(error))
            await asyncio.sleep(RETRY_PERIOD)

    def _is_free(self, current: LeaseRecord | None, *, unchanged_for: float) -> bool:
        if current is None or current.holder in {"", self.identity}:
            return True
        return unchanged_for >= LEASE_DURATION or self._is_dead(current.holder)

    async def _take(self, current: LeaseRecord | None, began: float) -> None:
        if current is None:
            self._held = await self._lease.create(self.identity)
        else:
            self._held = await self._lease.write(self.identity, current)
        self._renewed_at = began
        _log.info("this operator leads", identity=self.identity)

    async def hold(self) -> None:
        """Renew the Lease until that fails for too long or somebody else has it: then LeaseLost."""
        while True:
            await asyncio.sleep(RENEW_PERIOD if self._fresh() else RETRY_PERIOD)
            self.check()
            try:
                await self._renew()
            except ApiConflict:
                await self._settle_conflict()
            except ClusterError as error:
                _log.warning("cannot renew the Lease", error=str(error))

    def _fresh(self) -> bool:
        return self._clock() < self._renewed_at + RENEW_PERIOD

    async def _renew(self) -> None:
        if self._held is None:
            raise LeaseLost("the Lease is not held")
        began = self._clock()
        self._held = await self._lease.write(self.identity, self._held)
        self._renewed_at = began

    async def _settle_conflict(self) -> None:
        """A conflict is ours when an answer was lost on its way, or somebody annotated the Lease."""
        try:
            current = await self._lease.read()
        except ClusterError:
            return
        if current is None or current.holder != self.identity:
            self._renewed_at = float("-inf")
            raise LeaseLost(f"the Lease is held by {current.holder if current else 'nobody'}")
        self._held = current

    async def release(self) -> None:
        """Give the Lease back, so that a standby need not wait; best effort."""
        held, self._held, self._renewed_at = self._held, None, float("-inf")
        if held is None:
            return
        try:
            await self._lease.write("", held)
        except ClusterError as error:
            _log.warning("the Lease was not given back and ends by itself", error=str(error))
