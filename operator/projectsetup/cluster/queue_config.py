"""The ConfigMap by which people pause and scale the queue, watched live."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

from kubernetes.aio import watch
from kubernetes.aio.client import ApiClient, CoreV1Api
from kubernetes.aio.client.exceptions import ApiException

from projectsetup.cluster.errors import ApiForbidden, ApiNotFound, ClusterError
from projectsetup.cluster.translate import translated
from projectsetup.observe.logs import get_logger

CONFIG_MAP = "projectsetup-queue"
TIMEOUT = 10.0
WATCH_SECONDS = 60
RETRY_SECONDS = 2.0
MOST_CONCURRENCY = 1000

_log = get_logger("queue")


@dataclass(frozen=True, slots=True)
class QueueControl:
    """What people ask of the queue; `concurrency` None: as the operator's settings say."""

    paused: bool = False
    concurrency: int | None = None


def parse_queue_control(data: Mapping[str, str] | None) -> tuple[QueueControl, str | None]:
    """The queue control of a ConfigMap's data, and in one line what of it was not understood and is ignored."""
    data = data or {}
    problems: list[str] = []
    paused = data.get("paused", "false").strip().lower()
    if paused not in {"true", "false"}:
        problems.append(f"paused is {paused[:40]!r}: true or false is allowed")
    concurrency: int | None = None
    if (text := data.get("concurrency", "").strip()) != "":
        if re.fullmatch("[0-9]{1,9}", text) and int(text) <= MOST_CONCURRENCY:
            concurrency = int(text)
        else:
            problems.append(f"concurrency is {text[:40]!r}: a number from 0 to {MOST_CONCURRENCY} is allowed")
    return QueueControl(paused == "true", concurrency), "; ".join(problems) or None


class QueueConfigWatch:
    """Tells `on_change` the queue control, at first and whenever the ConfigMap changes, appears or goes."""

    def __init__(self, api: ApiClient, namespace: str, *, on_change: Callable[[QueueControl], None]) -> None:
        self._api = CoreV1Api(api)
        self._namespace = namespace
        self._on_change = on_change

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
        control, problem = parse_queue_control(data)
        if problem:
            _log.warning("the queue's ConfigMap is not understood in part", problem=problem)
        self._on_change(control)
