"""What is known of the cluster at the moment, kept up to date, and whether it still answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from json import JSONDecodeError
from typing import Final, Protocol

from projectsetup.api.models import parse_resource
from projectsetup.dashboard.rows import Row, row_of
from projectsetup.kube.errors import ApiForbidden, ClusterError
from projectsetup.kube.queue_config import QueueControl, parse_queue_control, read_queue_config
from projectsetup.kube.raw import Body, RawApi

PAUSE: Final = 2.0
"""Seconds between two looks at the queue's ConfigMap, and after a watch that broke."""

Key = tuple[str, str]


class Observed(Protocol):
    """A ProjectSetup as it was at one moment."""

    @property
    def body(self) -> Body:
        """The object."""


Found = Mapping[Key, Observed]
Follow = Callable[[Callable[[Found], bool], Callable[[str], None]], Awaitable[None]]
"""Follows ProjectSetups: tells the first function of each change, the second why the API server is away."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The API server does not answer; what is known is as it was at `known_at`."""

    why: str
    known_at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """What is asked of the queue; None: not known. `problem` says what is not understood, or why it is not known."""

    control: QueueControl | None
    problem: str | None = None


class Sight:
    """The ProjectSetups that `follow` tells of and the queue's ConfigMap."""

    def __init__(self, follow: Follow, api: RawApi, operator_namespace: str) -> None:
        self._follow = follow
        self._api = api
        self._operator_namespace = operator_namespace
        self._found: Found | None = None
        self._rows: dict[Key, tuple[str, str, Row]] = {}
        self._queue = Queue(None)
        self._troubles: dict[str, str] = {}
        self._known_at = datetime.now(UTC)

    @property
    def complete(self) -> bool:
        """Whether all ProjectSetups were listed at least once."""
        return self._found is not None

    @property
    def queue(self) -> Queue:
        """What is asked of the queue."""
        return self._queue

    @property
    def outage(self) -> Outage | None:
        """None while the API server answers."""
        why = next(iter(self._troubles.values()), None)
        return None if why is None else Outage(why, self._known_at)

    def has(self, key: Key) -> bool:
        """Whether there is such a ProjectSetup."""
        return key in (self._found or {})

    async def rows(self) -> list[Row]:
        """All ProjectSetups; only those that changed are made anew, in a thread, since at first that may be many."""
        return await asyncio.to_thread(self._renew, list((self._found or {}).items()))

    def _renew(self, found: list[tuple[Key, Observed]]) -> list[Row]:
        rows: dict[Key, tuple[str, str, Row]] = {}
        for key, observed in found:
            metadata = observed.body["metadata"]
            uid, version = metadata["uid"], metadata["resourceVersion"]
            known = self._rows.get(key)
            if known is None or known[:2] != (uid, version):
                known = (uid, version, row_of(parse_resource(observed.body)))
            rows[key] = known
        self._rows = rows
        return [row for _, _, row in rows.values()]

    async def follow_setups(self) -> None:
        """Keep the ProjectSetups up to date for ever; ClusterError when they cannot even be listed once."""
        while True:
            try:
                await self._follow(self._see, partial(self._lose, "setups"))
            except (ClusterError, JSONDecodeError) as error:  # a watch may end in the middle of a line
                if not self.complete:
                    raise
                self._lose("setups", str(error))
            await asyncio.sleep(PAUSE)

    async def follow_queue(self) -> None:
        """Keep what is asked of the queue up to date for ever; it also finds out that nobody answers any more."""
        while True:
            try:
                self._queue = await self._read_queue()
                self._hear("queue")
            except ClusterError as error:
                self._lose("queue", str(error))
            await asyncio.sleep(PAUSE)

    async def _read_queue(self) -> Queue:
        try:
            return Queue(*parse_queue_control(await read_queue_config(self._api, self._operator_namespace)))
        except ApiForbidden as error:
            return Queue(None, str(error))

    def _see(self, found: Found) -> bool:
        self._found = found
        self._hear("setups")
        return False

    def _hear(self, source: str) -> None:
        self._troubles.pop(source, None)
        if not self._troubles:
            self._known_at = datetime.now(UTC)

    def _lose(self, source: str, why: str) -> None:
        self._troubles[source] = " ".join(why.split())
