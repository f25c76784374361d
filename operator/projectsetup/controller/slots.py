"""The operator's slots, and the ProjectSetups that wait for one in start order."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from projectsetup.api.models import Rank
from projectsetup.controller.workqueue import Key

_Entry = tuple[int, datetime, str, Key]
"""A rank and its key in one flat tuple: every start compares many of them."""


@dataclass(slots=True)
class Slots:
    """Hands `capacity` slots to the ProjectSetups that wait, in the order of their ranks.

    No slot is granted while the queue is `paused` or `closed`, or while expected keys have not been reconciled: after a
    start of the operator the start order must hold among all that wait, not among those seen first.
    """

    capacity: int
    paused: bool = False
    closed: bool = False
    _waiting: dict[Key, _Entry] = field(default_factory=dict)
    _heap: list[_Entry] = field(default_factory=list)
    """Also holds outdated entries: an entry counts only while `_waiting` has the same one."""
    _holders: set[Key] = field(default_factory=set)
    _expected: set[Key] = field(default_factory=set)
    _ready_since: dict[Key, datetime] = field(default_factory=dict)
    """Since when each key that waits, or got its slot by waiting, could have started."""

    def expect(self, keys: Iterable[Key]) -> None:
        """Grant no slot before all these keys have been reconciled."""
        self._expected.update(keys)

    def stop_expecting(self) -> int:
        """Grant slots without the keys that are still expected; return how many there were."""
        missed = len(self._expected)
        self._expected.clear()
        return missed

    def reconciled(self, key: Key) -> None:
        """Note that `key` has been reconciled."""
        self._expected.discard(key)

    def enqueue(self, key: Key, rank: Rank, *, since: datetime | None = None) -> None:
        """Wait for a slot, or change the rank; it could have started at `since`, by default when it was queued."""
        if key not in self._holders:
            entry = (*rank, key)
            if self._waiting.get(key) != entry:
                heapq.heappush(self._heap, entry)
                self._waiting[key] = entry
            self._ready_since.setdefault(key, since or rank.queued_at)

    def acquire(self, key: Key) -> None:
        """Take a slot for an attempt that is already running, even if none is free."""
        self._waiting.pop(key, None)
        self._holders.add(key)

    def release(self, key: Key) -> None:
        """Release the slot, or stop waiting for one."""
        self._waiting.pop(key, None)
        self._holders.discard(key)
        self._ready_since.pop(key, None)

    def holds(self, key: Key) -> bool:
        """Whether `key` holds a slot and may start; False for every key once closed."""
        return key in self._holders and not self.closed

    def grant(self) -> list[Key]:
        """Grant the free slots to the keys that rank first; return the new holders."""
        if self.paused or self.closed or self._expected:
            return []
        granted: list[Key] = []
        while self._heap and len(self._holders) < self.capacity:
            entry = heapq.heappop(self._heap)
            key = entry[-1]
            if self._waiting.get(key) == entry:
                self.acquire(key)
                granted.append(key)
        return granted

    @property
    def waiting(self) -> int:
        """How many keys wait for a slot."""
        return len(self._waiting)

    @property
    def held(self) -> int:
        """How many slots are held."""
        return len(self._holders)

    def depth(self) -> Counter[int]:
        """How many keys wait for a slot, by priority."""
        return Counter(priority for priority, *_ in self._waiting.values())

    @property
    def oldest(self) -> datetime | None:
        """Since when the key that has waited longest could have started."""
        return min((self._ready_since[key] for key in self._waiting), default=None)

    def ready_since(self, key: Key) -> datetime | None:
        """Since when `key` could have started; None if it never waited."""
        return self._ready_since.get(key)
