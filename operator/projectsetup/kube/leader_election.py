"""Leader election by a Lease: one operator acts, the others stand by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from projectsetup.kube.errors import ApiConflict, ApiNotFound, ClusterError
from projectsetup.kube.leader import LeaseLost
from projectsetup.kube.lease import LeaseClient, LeaseObserver, LeaseRecord
from projectsetup.observe.logs import get_logger

RENEW_PERIOD = 5.0
RENEW_DEADLINE = 20.0
"""Seconds without a renewal after which the leader stops."""
LAST_WRITE_DEADLINE = 26.0
"""Seconds after the last renewal up to which the ends of attempts may still be written to the database."""
RETRY_PERIOD = 1.0
CALL_TIMEOUT = 4.0

_log = get_logger("leadership")


def boot_clock() -> float:
    """Return the seconds since boot, including those while the machine slept or this process was stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaderElection:
    """Takes, renews and releases the Lease; `check` guards every write."""

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
        self._exiting = False

    def check(self) -> None:
        """Raise LeaseLost unless the Lease was renewed within the renew deadline.

        While this operator exits because it could not renew, the ends of its attempts may still be written, until just
        before another operator can take the Lease.
        """
        limit = LAST_WRITE_DEADLINE if self._exiting else RENEW_DEADLINE
        if self._clock() >= self._renewed_at + limit:
            raise LeaseLost(f"the Lease was not renewed for {limit:.0f} s")

    def allow_last_writes(self) -> None:
        """From now on let `check` allow writes until just before another operator can lead."""
        self._exiting = True

    async def acquire(self) -> None:
        """Return when this operator holds the Lease, however long that takes."""
        observer = LeaseObserver(self.identity, self._is_dead)
        while True:
            try:
                requested_at = self._clock()
                current = await self._lease.read()
                if observer.is_free(current, requested_at=requested_at, answered_at=self._clock()):
                    await self._take(current)
                    return
            except ApiConflict:
                _log.debug("another operator took the Lease first")
            except ClusterError as error:
                _log.warning("cannot reach the Lease; retrying", error=str(error))
            await asyncio.sleep(RETRY_PERIOD)

    async def _take(self, current: LeaseRecord | None) -> None:
        began = self._clock()
        if current is None:
            self._held = await self._lease.create(self.identity)
        else:
            self._held = await self._lease.write(self.identity, current)
        self._renewed_at = began
        _log.info("acquired the leader lease", identity=self.identity)

    async def hold(self) -> None:
        """Renew the Lease; raise LeaseLost when that fails for too long or another operator holds it."""
        while True:
            fresh = self._clock() < self._renewed_at + RENEW_PERIOD
            await asyncio.sleep(min(RENEW_PERIOD if fresh else RETRY_PERIOD, self._time_left()))
            self.check()
            try:
                async with asyncio.timeout(self._time_left()):
                    await self._renew()
            except TimeoutError:
                self.check()
            except ClusterError as error:
                _log.warning("cannot renew the Lease", error=str(error))

    def _time_left(self) -> float:
        return max(self._renewed_at + RENEW_DEADLINE - self._clock(), 0.0)

    async def _renew(self) -> None:
        if self._held is None:
            raise LeaseLost("the Lease is not held")
        began = self._clock()
        try:
            self._held = await self._lease.write(self.identity, self._held)
        except (ApiConflict, ApiNotFound):
            self._held = await self._read_own()
        else:
            self._renewed_at = began

    async def _read_own(self) -> LeaseRecord:
        """Return the Lease after a conflict, if it is still ours: an answer was lost, or somebody annotated it."""
        current = await self._lease.read()
        if current is None or current.holder != self.identity:
            self._held, self._renewed_at = None, float("-inf")
            raise LeaseLost(f"the Lease is held by {current.holder if current else 'nobody'}")
        return current

    async def release(self) -> None:
        """Release the Lease, so that a standby need not wait for it to expire; best effort."""
        held, self._renewed_at = self._held, float("-inf")
        if held is None:
            return
        try:
            try:
                await self._lease.write("", held)
            except ApiConflict:  # the last renewal was written, but its answer not awaited
                await self._lease.write("", await self._read_own())
        except (ClusterError, LeaseLost) as error:
            _log.warning("could not release the Lease; it expires by itself", error=str(error))
