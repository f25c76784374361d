"""The ConfigMap by which people pause, scale and limit the queue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import quote

from projectsetup.api.limits import Limits
from projectsetup.kube.client import Body, RestClient
from projectsetup.kube.errors import ApiNotFound
from projectsetup.text import DNS_LABEL

CONFIG_MAP = "projectsetup-queue"
MAX_CONCURRENCY = 1000
PAUSED, CONCURRENCY = "paused", "concurrency"
PER_NAMESPACE, PER_RECIPE, PAUSED_RECIPES = "concurrencyPerNamespace", "concurrencyPerRecipe", "pausedRecipes"
KEYS: Final = frozenset({PAUSED, CONCURRENCY, PER_NAMESPACE, PER_RECIPE, PAUSED_RECIPES})
"""Those of the ConfigMap."""
_SHOWN: Final = 40
"""Characters of an invalid value that a message shows."""

T = TypeVar("T")

Data = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class QueueControl:
    """The settings of the ConfigMap; `concurrency` None: the operator's own setting applies."""

    paused: bool = False
    concurrency: int | None = None
    limits: Limits = field(default_factory=Limits)
    unknown: frozenset[str] = frozenset()
    """Keys whose settings are not known: the value is invalid, and there was no valid one before."""

    @property
    def starts_nothing(self) -> bool:
        """Whether no attempt may start: an unknown setting might forbid it."""
        return self.paused or bool(self.unknown)


NEVER_READ: Final = QueueControl(unknown=KEYS)


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


def parse_queue_control(data: Data | None, last: QueueControl = NEVER_READ) -> tuple[QueueControl, str | None]:
    """Return the settings, and in one line what is invalid.

    Where a value is invalid, the setting stays as in `last`, so that a typo neither ends a pause nor lifts a limit.
    """
    data = {PAUSED: "false", **(data or {})}
    problems: list[str] = []
    unknown: set[str] = set()

    def setting(key: str, parse: Callable[[str], T], kept: T) -> T:
        try:
            return parse(data.get(key, ""))
        except _Invalid as error:
            problems.append(f"{key} {error}")
            if key in last.unknown:
                unknown.add(key)
            return kept

    paused = setting(PAUSED, _flag, last.paused)
    concurrency = setting(CONCURRENCY, _number, last.concurrency)
    limits = Limits(
        setting(PER_NAMESPACE, _number, last.limits.per_namespace),
        setting(PER_RECIPE, _limits_of_recipes, last.limits.per_recipe),
        setting(PAUSED_RECIPES, _recipes, last.limits.paused_recipes),
    )
    if others := ", ".join(sorted(data.keys() - KEYS)):
        problems.append(f"there is no key {others[:_SHOWN]!r}: the keys are {', '.join(sorted(KEYS))}")
    return QueueControl(paused, concurrency, limits, frozenset(unknown)), "; ".join(problems) or None


def recipe_limits_text(limits: Mapping[str, int]) -> str:
    """The value of `concurrencyPerRecipe`."""
    return "".join(f"{name}: {number}\n" for name, number in sorted(limits.items()))


def paused_recipes_text(names: Iterable[str]) -> str:
    """The value of `pausedRecipes`."""
    return "".join(f"{name}\n" for name in sorted(names))


class _Invalid(Exception):
    """A value is not allowed; the text continues a sentence that begins with its key."""


def _flag(text: str) -> bool:
    value = text.strip().lower()
    if value not in {"true", "false"}:
        raise _Invalid(f"is {value[:_SHOWN]!r}: true or false is allowed")
    return value == "true"


def _number(text: str) -> int | None:
    digits = text.strip()
    if not digits:
        return None
    number = int(digits) if re.fullmatch("[0-9]{1,9}", digits) else None
    if number is None or number > MAX_CONCURRENCY:
        raise _Invalid(f"is {digits[:_SHOWN]!r}: a number from 0 to {MAX_CONCURRENCY} is allowed")
    return number


def _limits_of_recipes(text: str) -> Mapping[str, int]:
    limits: dict[str, int] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, digits = map(str.strip, line.partition(":"))
        try:
            number = _number(digits)
        except _Invalid:
            number = None
        if number is None or not re.fullmatch(DNS_LABEL, name):
            expected = f"lines such as `python-service: 2`, with a number from 0 to {MAX_CONCURRENCY}, are allowed"
            raise _Invalid(f"has the line {line[:_SHOWN]!r}: {expected}")
        if name in limits:
            raise _Invalid(f"has several lines for {name}: one is allowed")
        limits[name] = number
    return limits


def _recipes(text: str) -> frozenset[str]:
    names = text.replace(",", " ").split()
    for name in names:
        if not re.fullmatch(DNS_LABEL, name):
            raise _Invalid(f"has {name[:_SHOWN]!r}: names of recipes are allowed")
    return frozenset(names)


def config_maps_path(namespace: str) -> str:
    """Return the path of the ConfigMaps of a namespace."""
    return f"/api/v1/namespaces/{quote(namespace)}/configmaps"


def config_map_data(config_map: Body) -> Data | None:
    """Return the data of a ConfigMap; None when it has none."""
    data: Data | None = config_map.get("data")
    return data
