"""How old a watch is, and whether it has missed changes that a list shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


DELIVERY_LIMIT = 10.0
"""Seconds within which the watch must deliver what a list has shown, unless it is still delivering."""


class WatchAge:
    """Compares the newest resourceVersion in a list with the newest that the watch has delivered.

    `delivered` may be called in another thread than the rest: nothing that it sets depends on what the rest sets.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._delivered = 0
        self._expected = 0
        self._expected_since = float("-inf")
        self._heard_at = clock()
        self._overdue = 0
        """The version that the watch has not delivered in time; 0 if there is none."""

    @property
    def silent(self) -> bool:
        """Whether the watch has not delivered a listed version in time."""
        return self._delivered < self._overdue

    @property
    def problem(self) -> str | None:
        """What is wrong with the watch; None if nothing is."""
        return "silent: it has missed changes that a list shows" if self.silent else None

    def silence(self) -> float:
        """Seconds since the watch delivered a change, or a list showed that it has missed none."""
        return self._clock() - self._heard_at

    def delivered(self, resource_version: int) -> None:
        """The watch has delivered an object of this version."""
        self._heard_at = self._clock()
        self._delivered = max(self._delivered, resource_version)

    def listed(self, newest: int) -> None:
        """A full list has shown `newest` as the newest version of all objects.

        It is lower than before if the newest object was deleted; that version need not be delivered any more.
        """
        missed = min(self._expected, newest)
        if self._delivered >= missed:
            self._heard_at = self._clock()
            self._expected, self._expected_since = newest, self._clock()
        else:
            self._expected = missed
        waited = min(self._clock() - self._expected_since, self.silence())
        self._overdue = missed if waited >= DELIVERY_LIMIT else 0
