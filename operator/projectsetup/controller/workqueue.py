"""The queue of ProjectSetups to reconcile."""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable

Key = tuple[str, str]
"""Namespace and name of a ProjectSetup."""


class WorkQueue:
    """Keys to reconcile, each held at most once: a key added while a worker has it comes back afterwards.

    Namespaces take turns, so that many or slow keys of one namespace do not delay the others. Within a namespace, keys
    come in the order in which they became due. `clock` returns seconds; by default it is the event loop's.
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
        """Reconcile `key` in `delay` seconds; an earlier time that was set before stays."""
        due = self._clock() + max(delay, 0.0)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    async def take(self) -> Key:
        """Wait for the next due key; call `done` after working on it. Only one task may call this at a time."""
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
        """Mark the work on `key` as finished; it may be taken again."""
        self._working.discard(key)
        if key in self._due:
            heapq.heappush(self._heap, (self._due[key], key))
            self._changed.set()

    def __len__(self) -> int:
        return len(self._due)

    def _until_next(self) -> float | None:
        """Move due keys to `_ready`; return the seconds until the next key is due."""
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
