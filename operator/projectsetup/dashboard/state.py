"""The cluster as the dashboard last saw it, and whether the API server still answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.dashboard.rows import Row, row_of
from projectsetup.kube.client import Body, RestClient
from projectsetup.kube.errors import ApiForbidden, ClusterError, is_temporary
from projectsetup.kube.informer import Action, Change, ObjectKey
from projectsetup.kube.queue_config import QueueControl, parse_queue_control, read_queue_config
from projectsetup.kube.setup_events import SeenEvent, events_of
from projectsetup.kube.setups import SetupClient

QUEUE_PERIOD: Final = 2.0
"""Seconds between two reads of the queue's ConfigMap."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The API server does not answer; the page shows the cluster as it was at `known_at`."""

    why: str
    known_at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """The settings of the queue, None while unknown; `problem` says what is invalid, or why they are unknown."""

    control: QueueControl | None
    problem: str | None = None


class _Setup:
    """One version of a ProjectSetup, of which the row is made when it is first shown."""

    def __init__(self, body: Body) -> None:
        self._body = body

    @cached_property
    def row(self) -> Row:
        return row_of(self.resource)

    @property
    def resource(self) -> ProjectSetupResource:
        return parse_resource(self._body)


class ClusterState:
    """The ProjectSetups of one namespace, or of all (None), and the queue's ConfigMap."""

    def __init__(self, setups: SetupClient, client: RestClient, namespace: str | None, operator_namespace: str) -> None:
        self._informer = setups.informer(namespace, keep=_Setup, on_error=self._setups_failed)
        self._client = client
        self._operator_namespace = operator_namespace
        self._queue = Queue(None)
        self._problems: dict[str, str] = {}
        self._known_at = datetime.now(UTC)

    @property
    def complete(self) -> bool:
        """Whether all ProjectSetups were listed at least once."""
        return self._informer.listed

    @property
    def queue(self) -> Queue:
        """The settings of the queue."""
        return self._queue

    @property
    def outage(self) -> Outage | None:
        """None while the API server answers."""
        why = next(iter(self._problems.values()), None)
        return None if why is None else Outage(why, self._known_at)

    def has(self, key: ObjectKey) -> bool:
        """Return whether this ProjectSetup exists."""
        return key in self._informer.objects

    def resource(self, key: ObjectKey) -> ProjectSetupResource | None:
        """Return this ProjectSetup if it exists."""
        setup = self._informer.objects.get(key)
        return None if setup is None else setup.resource

    async def events(self, resource: ProjectSetupResource) -> list[SeenEvent]:
        """Return the events on this ProjectSetup, the latest first. Raises ClusterError."""
        return await events_of(self._client, resource.namespace, resource.uid)

    async def rows(self) -> list[Row]:
        """Return all ProjectSetups; rows that are new are made in a thread, since at first they are many."""
        setups = list(self._informer.objects.values())
        return await asyncio.to_thread(lambda: [setup.row for setup in setups])

    async def follow_setups(self) -> None:
        """Keep the ProjectSetups up to date for ever; ClusterError when they may not be listed even once."""
        await self._informer.run(self._setups_changed)

    async def follow_queue(self) -> None:
        """Keep the settings of the queue up to date for ever; this also detects soon that the API server is gone."""
        while True:
            try:
                self._queue = await self._read_queue()
                self._answered("queue")
            except ClusterError as error:
                self._failed("queue", error)
            await asyncio.sleep(QUEUE_PERIOD)

    async def _read_queue(self) -> Queue:
        try:
            return Queue(*parse_queue_control(await read_queue_config(self._client, self._operator_namespace)))
        except ApiForbidden as error:
            return Queue(None, str(error))

    def _setups_changed(self, _: Sequence[Change[_Setup]]) -> bool:
        self._answered("setups")
        return False

    def _setups_failed(self, _: Action, error: ClusterError) -> None:
        if not (self.complete or is_temporary(error)):
            raise error
        self._failed("setups", error)

    def _answered(self, source: str) -> None:
        self._problems.pop(source, None)
        if not self._problems:
            self._known_at = datetime.now(UTC)

    def _failed(self, source: str, error: ClusterError) -> None:
        self._problems[source] = " ".join(str(error).split())
