"""When the Lease of another operator may be taken, told from this one's own clock alone."""

from __future__ import annotations

from collections.abc import Callable

from projectsetup.kube.lease import LeaseRecord

LEASE_DURATION = 30
"""Seconds after which a Lease that was not renewed may be taken."""
DYING = 2.0
"""Seconds in which all that a dead operator has started ends (section 8 of the contract)."""


class Vacancy:
    """What a standby has seen of the Lease: since when it did not change, since when its holder is dead."""

    def __init__(self, identity: str, is_dead: Callable[[str], bool]) -> None:
        self._identity = identity
        self._is_dead = is_dead
        self._seen: LeaseRecord | None = None
        self._unchanged_since = float("inf")
        self._dead_since = float("inf")

    def is_free(self, current: LeaseRecord | None, *, asked: float, answered: float) -> bool:
        """Whether the Lease may be taken that was asked for and answered at these times.

        A Lease that has changed may be as young as the answer; one that has not was still there when it was asked for.
        """
        if current is None or current.holder in {"", self._identity}:
            return True
        if self._seen is None or current.resource_version != self._seen.resource_version:
            self._seen, self._unchanged_since, self._dead_since = current, answered, float("inf")
        if self._is_dead(current.holder):
            self._dead_since = min(self._dead_since, asked)
        return asked - self._unchanged_since >= LEASE_DURATION or asked - self._dead_since >= DYING
