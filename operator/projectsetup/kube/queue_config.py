"""The ConfigMap by which people pause, scale and limit the queue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from projectsetup.api.limits import Limits
from projectsetup.kube.client import Body, RestClient
from projectsetup.kube.errors import ApiNotFound
from projectsetup.text import DNS_LABEL

CONFIG_MAP = "projectsetup-queue"
MAX_CONCURRENCY = 1000
PAUSED, CONCURRENCY = "paused", "concurrency"
PER_NAMESPACE, PER_RECIPE, PAUSED_RECIPES = "concurrencyPerNamespace", "concurrencyPerRecipe", "pausedRecipes"
"""The keys of the ConfigMap."""
_SHOWN: Final = 40
"""Characters of an invalid value that a message shows."""

Data = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class QueueControl:
    """The settings of the ConfigMap; `concurrency` None: the operator's own setting applies."""

    paused: bool = False
    concurrency: int | None = None
    limits: Limits = field(default_factory=Limits)


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
    paused = data.get(PAUSED, "false").strip().lower()
    if paused not in {"true", "false"}:
        problems.append(f"{PAUSED} is {paused[:_SHOWN]!r}: true or false is allowed")
    concurrency = _number(data, CONCURRENCY, problems)
    limits = Limits(_number(data, PER_NAMESPACE, problems), _per_recipe(data, problems), _paused(data, problems))
    return QueueControl(paused == "true", concurrency, limits), "; ".join(problems) or None


def recipe_limits_text(limits: Mapping[str, int]) -> str:
    """The value of `concurrencyPerRecipe`."""
    return "".join(f"{name}: {number}\n" for name, number in sorted(limits.items()))


def paused_recipes_text(names: Iterable[str]) -> str:
    """The value of `pausedRecipes`."""
    return "".join(f"{name}\n" for name in sorted(names))


def _number(data: Data, key: str, problems: list[str]) -> int | None:
    text = data.get(key, "").strip()
    number = _parsed(text)
    if text and number is None:
        problems.append(f"{key} is {text[:_SHOWN]!r}: a number from 0 to {MAX_CONCURRENCY} is allowed")
    return number


def _parsed(text: str) -> int | None:
    number = int(text) if re.fullmatch("[0-9]{1,9}", text) else None
    return None if number is None or number > MAX_CONCURRENCY else number


def _per_recipe(data: Data, problems: list[str]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for line in filter(None, map(str.strip, data.get(PER_RECIPE, "").splitlines())):
        name, _, text = line.partition(":")
        number = _parsed(text.strip())
        if number is None or not re.fullmatch(DNS_LABEL, name.strip()):
            expected = f"lines such as `python-service: 2`, with a number from 0 to {MAX_CONCURRENCY}, are allowed"
            problems.append(f"{PER_RECIPE} has the line {line[:_SHOWN]!r}: {expected}")
        else:
            limits[name.strip()] = number
    return limits


def _paused(data: Data, problems: list[str]) -> frozenset[str]:
    names = data.get(PAUSED_RECIPES, "").replace(",", " ").split()
    valid = {name for name in names if re.fullmatch(DNS_LABEL, name)}
    problems += [
        f"{PAUSED_RECIPES} has {name[:_SHOWN]!r}: names of recipes are allowed" for name in names if name not in valid
    ]
    return frozenset(valid)


def config_maps_path(namespace: str) -> str:
    """Return the path of the ConfigMaps of a namespace."""
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps"


def config_map_data(config_map: Body) -> Data | None:
    """Return the data of a ConfigMap; None when it has none."""
    data: Data | None = config_map.get("data")
    return data
