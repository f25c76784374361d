"""The queue of keys to look at, and the line of those that may start."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from projectsetup.api.models import Rank

Key = tuple[str, str]
"""Namespace and name of a ProjectSetup."""


class WorkQueue:
    """Keys to look at, each at most once at a time: a key added while it is worked on comes again afterwards.

    Namespaces take turns, so that one with many keys, or with keys that take long, does not keep the others waiting.
    Keys of one namespace come in the order they became due. The clock gives seconds; it is the event loop's by default.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or asyncio.get_event_loop().time
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._ready: OrderedDict[str, OrderedDict[Key, None]] = OrderedDict()
        """The keys that are due, by namespace; the namespace whose turn it is comes first."""
        self._working: set[Key] = set()
        self._changed = asyncio.Event()

    def add(self, key: Key, *, delay: float = 0.0) -> None:
        """Look at `key` in `delay` seconds, or earlier when that was asked for already."""
        due = self._clock() + max(delay, 0.0)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    async def take(self) -> Key:
        """The next key that is due; `done` must be called for it. For one task at a time."""
        while True:
            self._changed.clear()
            wait = self._until_next()
            if self._ready:
                return self._pop()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """The work on `key` is over; it may come again."""
        self._working.discard(key)
        if key in self._due:
            heapq.heappush(self._heap, (self._due[key], key))
            self._changed.set()

    def __len__(self) -> int:
        return len(self._due)

    def _until_next(self) -> float | None:
        """Have those that are due take their places; the seconds until the next one will be."""
        now = self._clock()
        while self._heap:
            due, key = self._heap[0]
            is_current = self._due.get(key) == due and key not in self._working
            if is_current and due > now:
                return due - now
            heapq.heappop(self._heap)
            if is_current:
                self._ready.setdefault(key[0], OrderedDict())[key] = None
        return None

    def _pop(self) -> Key:
        namespace, keys = self._ready.popitem(last=False)
        key, _ = keys.popitem(last=False)
        if keys:
            self._ready[namespace] = keys
        del self._due[key]
        self._working.add(key)
        return key


_Place = tuple[int, datetime, str, Key]
"""A rank and who has it, flat: a long line compares many of them for each start."""


@dataclass(slots=True)
class StartLine:
    """Who may start, in order, and who holds one of the slots.

    While `awaited` names keys that were not looked at yet, no slot is given: after a start of the operator the order
    holds over all that wait, not over those seen first.
    """

    capacity: int
    paused: bool = False
    closed: bool = False
    _waiting: dict[Key, _Place] = field(default_factory=dict)
    _order: list[_Place] = field(default_factory=list)
    """A heap of the places in line, also of those that were left: a place counts while `_waiting` tells the same."""
    _holders: set[Key] = field(default_factory=set)
    _awaited: set[Key] = field(default_factory=set)
    _since: dict[Key, datetime] = field(default_factory=dict)
    """Since when each that waits, or holds a slot after that, could start."""

    def await_first_look(self, keys: Iterable[Key]) -> None:
        """Give no slot before all these keys were looked at."""
        self._awaited.update(keys)

    def stop_awaiting(self) -> int:
        """Give slots from now on, whoever was not looked at; how many that are."""
        missed = len(self._awaited)
        self._awaited.clear()
        return missed

    def looked_at(self, key: Key) -> None:
        """`key` was looked at once."""
        self._awaited.discard(key)

    def join(self, key: Key, rank: Rank, *, since: datetime | None = None) -> None:
        """Stand in line, or move to another place in it; `since` when it could start, `queued_at` unless given."""
        if key not in self._holders:
            place = (*rank, key)
            if self._waiting.get(key) != place:
                heapq.heappush(self._order, place)
                self._waiting[key] = place
            self._since.setdefault(key, since or rank.queued_at)

    def take(self, key: Key) -> None:
        """Hold a slot for what runs already, whether one is free or not."""
        self._waiting.pop(key, None)
        self._holders.add(key)

    def leave(self, key: Key) -> None:
        """Give back the slot, or the place in line."""
        self._waiting.pop(key, None)
        self._holders.discard(key)
        self._since.pop(key, None)

    def holds_slot(self, key: Key) -> bool:
        """Whether `key` holds a slot and may start; nothing may after the line was closed."""
        return key in self._holders and not self.closed

    def give_slots(self) -> list[Key]:
        """Give the free slots to the first in line; the new holders."""
        if self.paused or self.closed or self._awaited:
            return []
        first: list[Key] = []
        while self._order and len(self._holders) < self.capacity:
            place = heapq.heappop(self._order)
            key = place[-1]
            if self._waiting.get(key) == place:
                self.take(key)
                first.append(key)
        return first

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._waiting)

    def depth(self) -> Counter[int]:
        """How many stand in line, by priority."""
        return Counter(priority for priority, *_ in self._waiting.values())

    @property
    def oldest(self) -> datetime | None:
        """Since when the one that waits longest could start."""
        return min((self._since[key] for key in self._waiting), default=None)

    def waited_since(self, key: Key) -> datetime | None:
        """Since when this holder of a slot could start; None when it never stood in line."""
        return self._since.get(key)

    @property
    def holding(self) -> int:
        """How many hold a slot."""
        return len(self._holders)
