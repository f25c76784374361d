"""The ConfigMap by which people pause and scale the queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from projectsetup.kube.client import Body, RestClient
from projectsetup.kube.errors import ApiNotFound

CONFIG_MAP = "projectsetup-queue"
MAX_CONCURRENCY = 1000

Data = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class QueueControl:
    """The settings of the ConfigMap; `concurrency` None: the operator's own setting applies."""

    paused: bool = False
    concurrency: int | None = None


def queue_config_path(namespace: str) -> str:
    """Return the path of the ConfigMap; `namespace` is the operator's."""
    return f"{config_maps_path(namespace)}/{CONFIG_MAP}"


async def read_queue_config(client: RestClient, namespace: str) -> Data | None:
    """Return the data of the ConfigMap, or None when it does not exist."""
    try:
        found = await client.call(f"read ConfigMap {namespace}/{CONFIG_MAP}", "GET", queue_config_path(namespace))
    except ApiNotFound:
        return None
    return config_map_data(found)


def parse_queue_control(data: Data | None) -> tuple[QueueControl, str | None]:
    """Return the settings, and in one line which values are invalid and therefore ignored."""
    data = data or {}
    problems: list[str] = []
    paused = data.get("paused", "false").strip().lower()
    if paused not in {"true", "false"}:
        problems.append(f"paused is {paused[:40]!r}: true or false is allowed")
    concurrency: int | None = None
    if (text := data.get("concurrency", "").strip()) != "":
        if re.fullmatch("[0-9]{1,9}", text) and int(text) <= MAX_CONCURRENCY:
            concurrency = int(text)
        else:
            problems.append(f"concurrency is {text[:40]!r}: a number from 0 to {MAX_CONCURRENCY} is allowed")
    return QueueControl(paused == "true", concurrency), "; ".join(problems) or None


def config_maps_path(namespace: str) -> str:
    """Return the path of the ConfigMaps of a namespace."""
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps"


def config_map_data(config_map: Body) -> Data | None:
    """Return the data of a ConfigMap; None when it has none."""
    data: Data | None = config_map.get("data")
    return data
