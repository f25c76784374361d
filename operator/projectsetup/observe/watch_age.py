"""How old a watch is, and whether it has missed changes that a list shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class LastHeard:
    """Counts from when it was made, or last heard of; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()

    def now(self) -> None:
        """It tells of a change, or a list shows that there was nothing to tell."""
        self._at = self._clock()

    def seconds(self) -> float:
        """The time since then."""
        return self._clock() - self._at


DELIVERY_LIMIT = 10.0
"""Seconds after which the watch must have delivered what a list has shown, unless it is still delivering."""


class WatchAge:
    """Compares the newest resourceVersion that lists have shown with the newest that the watch has delivered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._delivered = 0
        self._expected = 0
        self._expected_since = float("-inf")
        self.heard = LastHeard(clock)
        self.silent = False
        """The watch has missed what lists showed for longer than it may take."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the watch, None when nothing is."""
        return "silent: it has not told of changes that a list shows" if self.silent else None

    def delivered(self, resource_version: int) -> None:
        """The watch has delivered an object of this version."""
        self.heard.now()
        self._delivered = max(self._delivered, resource_version)
        if self._delivered >= self._expected:
            self.silent = False

    def listed(self, newest: int) -> None:
        """A full list has shown `newest` as the newest version of all objects.

        It is less than before when the newest object was deleted: that one need not be delivered any more.
        """
        missed = min(self._expected, newest)
        if self._delivered >= missed:
            self.heard.now()
            self._expected, self._expected_since = newest, self._clock()
        else:
            self._expected = missed
        waited = min(self._clock() - self._expected_since, self.heard.seconds())
        self.silent = self._delivered < missed and waited >= DELIVERY_LIMIT
