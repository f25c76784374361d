"""How many attempts of one namespace, and of one recipe, may run at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

UNLIMITED: Final = sys.maxsize


class LimitKind(StrEnum):
    """What a limit counts the attempts of."""

    NAMESPACE = "namespace"
    RECIPE = "recipe"


class Limit(NamedTuple):
    """The limit of one namespace or of one recipe."""

    kind: LimitKind
    name: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force besides the number of slots; without any, all setups are alike.

    A paused recipe has the limit 0.
    """

    per_namespace: int | None = None
    per_recipe: Mapping[str, int] = field(default_factory=dict)
    paused_recipes: frozenset[str] = frozenset()

    def of(self, namespace: str, recipe: str | None) -> tuple[Limit, ...]:
        """The limits that apply to a setup."""
        found: list[Limit] = []
        if self.per_namespace is not None:
            found.append(Limit(LimitKind.NAMESPACE, namespace))
        if recipe is not None and (recipe in self.per_recipe or recipe in self.paused_recipes):
            found.append(Limit(LimitKind.RECIPE, recipe))
        return tuple(found)

    def most(self, limit: Limit) -> int:
        """How many attempts it lets run at once; any number if it is not in force."""
        if limit.kind is LimitKind.NAMESPACE:
            return UNLIMITED if self.per_namespace is None else self.per_namespace
        return 0 if limit.name in self.paused_recipes else self.per_recipe.get(limit.name, UNLIMITED)

    def reached(self, limits: Iterable[Limit], running: Mapping[Limit, int]) -> Limit | None:
        """The first of these limits that lets no other attempt start beside those that are `running`."""
        return next((limit for limit in limits if running.get(limit, 0) >= self.most(limit)), None)
