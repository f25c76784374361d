"""The operator's slots, and the ProjectSetups that wait for one in start order."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

from projectsetup.api.limits import Limit, LimitKind, Limits
from projectsetup.api.models import Rank
from projectsetup.controller.workqueue import Key

_Entry: TypeAlias = tuple[int, datetime, str, Key]
"""A rank and its key in one flat tuple: every start compares many of them."""
_Group: TypeAlias = tuple[Limit, ...]
"""Those to which the same limits apply, so that either all of them may start or none."""


class _Waiting(NamedTuple):
    entry: _Entry
    recipe: str | None
    group: _Group


@dataclass(slots=True)
class Slots:
    """Hands `capacity` slots to the ProjectSetups that wait, in the order of their ranks.

    One whose namespace or recipe has reached its limit is passed over and keeps its place. No slot is granted while the
    queue is `paused` or `closed`, or while expected keys have not been reconciled: after a start of the operator the
    start order must hold among all that wait, not among those seen first.
    """

    capacity: int
    paused: bool = False
    closed: bool = False
    _limits: Limits = field(default_factory=Limits)
    _waiting: dict[Key, _Waiting] = field(default_factory=dict)
    _groups: dict[_Group, list[_Entry]] = field(default_factory=dict)
    """A heap for each group in which somebody waits. Also holds outdated entries: an entry counts only while
    `_waiting` has this very object. An equal one may wait in another group, after a setup was created again."""
    _sizes: Counter[_Group] = field(default_factory=Counter)
    """How many wait in each group."""
    _limited: dict[Limit, dict[Limit, _Group]] = field(default_factory=dict)
    """The groups to which a limit applies, by the other limit that applies to them, or by this one if there is none."""
    _first: list[tuple[_Entry, _Group]] = field(default_factory=list)
    """A heap of who is first in each group. Also holds outdated entries: one counts only while `_offered` has it."""
    _offered: dict[_Group, _Entry] = field(default_factory=dict)
    """Who is first in each group, but for groups that were passed over since they have reached a limit."""
    _holders: dict[Key, str | None] = field(default_factory=dict)
    """The recipe of each key that holds a slot."""
    _running: Counter[Limit] = field(default_factory=Counter)
    """How many holders count towards each limit."""
    _open: set[Limit] = field(default_factory=set)
    """The limits that let another attempt start."""
    _expected: set[Key] = field(default_factory=set)
    _ready_since: dict[Key, datetime] = field(default_factory=dict)
    """Since when each key that waits, or got its slot by waiting, could have started."""

    def limit(self, limits: Limits) -> None:
        """Apply these limits from now on; nobody who holds a slot loses it."""
        if limits == self._limits:
            return
        self._limits = limits
        self._running = Counter(
            limit for (namespace, _), recipe in self._holders.items() for limit in limits.of(namespace, recipe)
        )
        waiting = dict(self._waiting)
        for index in (self._waiting, self._groups, self._sizes, self._limited, self._open, self._first, self._offered):
            index.clear()
        for key, (entry, recipe, _) in waiting.items():
            self._wait(key, entry, recipe)

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

    def enqueue(self, key: Key, rank: Rank, recipe: str | None = None, *, since: datetime | None = None) -> None:
        """Wait for a slot, or change the rank; it could have started at `since`, by default when it was queued.

        A key that holds a slot for another recipe was created again, and waits like a new one.
        """
        if key in self._holders:
            if self._holders[key] == recipe:
                return
            self.release(key)
        entry = (*rank, key)
        known = self._waiting.get(key)
        if known is None or (known.entry, known.recipe) != (entry, recipe):
            self._stop_waiting(key)
            self._wait(key, entry, recipe)
        self._ready_since.setdefault(key, since or rank.queued_at)

    def acquire(self, key: Key, recipe: str | None = None) -> None:
        """Take a slot for an attempt that is already running, even if none is free."""
        self._stop_waiting(key)
        if key not in self._holders:
            self._holders[key] = recipe
            self._count(key, recipe, 1)

    def release(self, key: Key) -> None:
        """Release the slot, or stop waiting for one."""
        self._stop_waiting(key)
        if key in self._holders:
            self._count(key, self._holders.pop(key), -1)
        self._ready_since.pop(key, None)

    def holds(self, key: Key, recipe: str | None = None) -> bool:
        """Whether `key` holds a slot for this recipe and may start; False for every key once closed."""
        return key in self._holders and self._holders[key] == recipe and not self.closed

    def grant(self) -> list[Key]:
        """Grant the free slots to the keys that rank first of those whose limits allow it; return the new holders."""
        if self.paused or self.closed or self._expected:
            return []
        granted: list[Key] = []
        while self._first and len(self._holders) < self.capacity:
            entry, group = heapq.heappop(self._first)
            if self._offered.get(group) != entry:
                continue
            del self._offered[group]
            if self._open.issuperset(group):
                key = entry[-1]
                self.acquire(key, self._waiting[key].recipe)
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
        return Counter(waiting.entry[0] for waiting in self._waiting.values())

    def limited(self) -> Counter[LimitKind]:
        """How many of the keys that wait have reached a limit, by its kind; that of the namespace comes first."""
        found: Counter[LimitKind] = Counter()
        for group, size in self._sizes.items():
            limit = next((limit for limit in group if limit not in self._open), None)
            if limit is not None:
                found[limit.kind] += size
        return found

    @property
    def oldest(self) -> datetime | None:
        """Since when the key that has waited longest could have started."""
        return min((self._ready_since[key] for key in self._waiting), default=None)

    def ready_since(self, key: Key) -> datetime | None:
        """Since when `key` could have started; None if it never waited."""
        return self._ready_since.get(key)

    def _wait(self, key: Key, entry: _Entry, recipe: str | None) -> None:
        group = self._limits.of(key[0], recipe)
        if group not in self._groups:
            self._groups[group] = []
            for limit, other in zip(group, reversed(group), strict=True):
                self._limited.setdefault(limit, {})[other] = group
                if self._running[limit] < self._limits.most(limit):
                    self._open.add(limit)
        self._waiting[key] = _Waiting(entry, recipe, group)
        self._sizes[group] += 1
        heapq.heappush(self._groups[group], entry)
        self._offer(group)

    def _stop_waiting(self, key: Key) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return
        group = waiting.group
        self._sizes[group] -= 1
        if self._sizes[group] == 0:
            del self._sizes[group], self._groups[group]
            self._offered.pop(group, None)
            for limit, other in zip(group, reversed(group), strict=True):
                del self._limited[limit][other]
        else:
            self._offer(group)

    def _offer(self, group: _Group) -> None:
        """See to it that the first who waits in this group is among those that may get a slot."""
        heap = self._groups[group]
        while not self._counts(heap[0]):
            heapq.heappop(heap)
        if self._offered.get(group) != heap[0] and self._open.issuperset(group):
            self._offered[group] = heap[0]
            heapq.heappush(self._first, (heap[0], group))

    def _counts(self, entry: _Entry) -> bool:
        waiting = self._waiting.get(entry[-1])
        return waiting is not None and waiting.entry is entry

    def _count(self, key: Key, recipe: str | None, change: int) -> None:
        """A holder more or less: limits close, or open for the groups that were passed over."""
        for limit in self._limits.of(key[0], recipe):
            self._running[limit] += change
            if self._running[limit] >= self._limits.most(limit):
                self._open.discard(limit)
            elif limit not in self._open:
                self._open.add(limit)
                groups = self._limited.get(limit, {})
                for other in groups.keys() & self._open:
                    self._offer(groups[other])
