"""The queue's ConfigMap, watched live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from kubernetes.aio.client import ApiClient

from projectsetup.kube.errors import ApiForbidden, ApiUnavailable, ClusterError
from projectsetup.kube.queue_config import CONFIG_MAP, QueueControl, parse_queue_control, read_queue_config
from projectsetup.kube.raw import TIMEOUT, Lines, Query, RawApi
from projectsetup.observe.logs import get_logger
from projectsetup.observe.watch_age import LastHeard

WATCH_SECONDS = 60
RETRY_SECONDS = 2.0

_log = get_logger("queue")


class QueueConfigWatch:
    """Tells `on_change` the queue control, at first and whenever the ConfigMap changes, appears or goes."""

    def __init__(self, api: ApiClient, namespace: str, *, on_change: Callable[[QueueControl], None]) -> None:
        self._api = RawApi(api)
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{quote(namespace)}/configmaps"
        self._on_change = on_change
        self.heard = LastHeard()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            try:
                await self._follow()
            except (ClusterError, json.JSONDecodeError) as error:  # a watch may end in the middle of a line
                _log.warning(
                    "cannot watch the queue's ConfigMap, trying again", error=" ".join(str(error).split())[:300]
                )
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        place = f"{self._namespace}/{CONFIG_MAP}"
        try:
            self._tell(await read_queue_config(self._api, self._namespace))
        except ApiForbidden:
            self._tell(None)
            raise
        query: Query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={CONFIG_MAP}",
            "timeoutSeconds": WATCH_SECONDS,
        }
        async with (
            self._api.stream(f"watch ConfigMap {place}", self._path, query=query) as pieces,
            asyncio.timeout(WATCH_SECONDS + TIMEOUT),
        ):
            lines = Lines(pieces)
            while (line := await lines.next()) is not None:
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "ERROR":
            raise ApiUnavailable(f"the watch of the queue's ConfigMap ended: {event['object'].get('message')}")
        self._tell(None if event["type"] == "DELETED" else event["object"].get("data"))

    def _tell(self, data: Mapping[str, str] | None) -> None:
        self.heard.now()
        control, problem = parse_queue_control(data)
        if problem:
            _log.warning("the queue's ConfigMap is not understood in part", problem=problem)
        self._on_change(control)
