"""The ConfigMap by which people pause and scale the queue, and what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from projectsetup.kube.errors import ApiNotFound
from projectsetup.kube.raw import RawApi

CONFIG_MAP = "projectsetup-queue"
MOST_CONCURRENCY = 1000


@dataclass(frozen=True, slots=True)
class QueueControl:
    """What people ask of the queue; `concurrency` None: as the operator's settings say."""

    paused: bool = False
    concurrency: int | None = None


def queue_config_path(namespace: str) -> str:
    """Where the ConfigMap is; `namespace` is the operator's."""
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps/{CONFIG_MAP}"


async def read_queue_config(api: RawApi, namespace: str) -> Mapping[str, str] | None:
    """The data of the ConfigMap; None when there is none."""
    try:
        found = await api.call(f"read ConfigMap {namespace}/{CONFIG_MAP}", "GET", queue_config_path(namespace))
    except ApiNotFound:
        return None
    data: Mapping[str, str] | None = found.get("data")
    return data


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
