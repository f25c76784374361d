"""The queue's ConfigMap, watched live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from json import JSONDecodeError
from typing import Any

from kubernetes.aio import watch
from kubernetes.aio.client import ApiClient, CoreV1Api
from kubernetes.aio.client.exceptions import ApiException

from projectsetup.cluster.errors import ApiForbidden, ApiNotFound, ClusterError
from projectsetup.cluster.queue_config import CONFIG_MAP, QueueControl, parse_queue_control
from projectsetup.cluster.translate import translated
from projectsetup.observe.last_heard import LastHeard
from projectsetup.observe.logs import get_logger

TIMEOUT = 10.0
WATCH_SECONDS = 60
RETRY_SECONDS = 2.0

_log = get_logger("queue")


class QueueConfigWatch:
    """Tells `on_change` the queue control, at first and whenever the ConfigMap changes, appears or goes."""

    def __init__(self, api: ApiClient, namespace: str, *, on_change: Callable[[QueueControl], None]) -> None:
        self._api = CoreV1Api(api)
        self._namespace = namespace
        self._on_change = on_change
        self.heard = LastHeard()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            try:
                await self._follow()
            except (ClusterError, ApiException, JSONDecodeError) as error:  # a watch may end in the middle of a line
                _log.warning(
                    "cannot watch the queue's ConfigMap, trying again", error=" ".join(str(error).split())[:300]
                )
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        try:
            with translated(f"read ConfigMap {self._namespace}/{CONFIG_MAP}"):
                found = await self._api.read_namespaced_config_map(
                    CONFIG_MAP, self._namespace, _request_timeout=TIMEOUT
                )
            self._tell(found.data)
        except ApiNotFound:
            self._tell(None)
        except ApiForbidden:
            self._tell(None)
            raise
        with translated(f"watch ConfigMap {self._namespace}/{CONFIG_MAP}"):
            async with watch.Watch() as stream:
                events: Any = stream.stream(
                    self._api.list_namespaced_config_map,
                    self._namespace,
                    field_selector=f"metadata.name={CONFIG_MAP}",
                    timeout_seconds=WATCH_SECONDS,
                    _request_timeout=WATCH_SECONDS + TIMEOUT,
                )
                async for event in events:
                    self._tell(None if event["type"] == "DELETED" else event["object"].data)

    def _tell(self, data: Mapping[str, str] | None) -> None:
        self.heard.now()
        control, problem = parse_queue_control(data)
        if problem:
            _log.warning("the queue's ConfigMap is not understood in part", problem=problem)
        self._on_change(control)
