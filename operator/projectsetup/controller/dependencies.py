"""Secrets and recipes that ProjectSetups name and that do not exist (yet)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from projectsetup.controller.ports import Cluster
from projectsetup.controller.queue import Key
from projectsetup.kube.errors import ApiForbidden, ClusterError
from projectsetup.observe.logs import get_logger
from projectsetup.recipes.errors import RecipesUnavailable
from projectsetup.recipes.loader import RecipeBook

LOOK_PERIOD: Final = 5.0
"""Seconds between two looks at what is missing; who waits learns of it 10 s after it is there at the latest."""
MOST_SECRETS: Final = 100
"""So many Secrets of one namespace are asked for in one look; a namespace with more waits longer, and no other does."""

_log = get_logger("dependencies")


@dataclass(frozen=True, slots=True)
class Missing:
    """A Secret of a namespace, or a recipe (its namespace is empty), that does not exist."""

    namespace: str
    name: str
    message: str = field(compare=False)

    @classmethod
    def recipe(cls, name: str, why: str) -> Self:
        """`why` there is no such recipe."""
        return cls("", name, why)

    @classmethod
    def secret(cls, namespace: str, name: str) -> Self:
        """The Secret with the credentials."""
        return cls(namespace, name, f"Secret {name} of spec.credentialsSecretRef does not exist")


@dataclass(slots=True)
class MissingDependencies:
    """Looks at each that is missing once a period, however many wait for it, and wakes them when it is there."""

    cluster: Cluster
    recipes: RecipeBook
    wake: Callable[[Key], None]
    _waiting: dict[Missing, set[Key]] = field(default_factory=dict)
    _awaited: dict[Key, Missing] = field(default_factory=dict)

    def wait(self, key: Key, missing: Missing) -> None:
        """Have `key` woken when this is there."""
        self.forget(key)
        self._awaited[key] = missing
        self._waiting.setdefault(missing, set()).add(key)

    def forget(self, key: Key) -> None:
        """`key` waits for nothing any more."""
        missing = self._awaited.pop(key, None)
        if missing is not None:
            keys = self._waiting[missing]
            keys.discard(key)
            if not keys:
                del self._waiting[missing]

    def lacks(self, missing: Missing) -> bool:
        """Whether others wait for it, so that it need not be asked for: it was not there a moment ago."""
        return missing in self._waiting

    def __len__(self) -> int:
        return len(self._awaited)

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_PERIOD)
            await self.look()

    async def look(self) -> None:
        """Wake those for whom what they wait for is there."""
        recipes = self._recipe_names()
        for missing in self._next():
            if await self._has_secret(missing) if missing.namespace else missing.name in recipes:
                for key in self._waiting.pop(missing, ()):
                    del self._awaited[key]
                    self.wake(key)
            elif missing in self._waiting:
                self._waiting[missing] = self._waiting.pop(missing)  # others come before it next time

    def _next(self) -> list[Missing]:
        """All recipes, and of each namespace the Secrets that were not asked for longest."""
        asked: Counter[str] = Counter()
        chosen: list[Missing] = []
        for missing in self._waiting:
            asked[missing.namespace] += 1
            if not missing.namespace or asked[missing.namespace] <= MOST_SECRETS:
                chosen.append(missing)
        return chosen

    async def _has_secret(self, missing: Missing) -> bool:
        try:
            return await self.cluster.get_secret(missing.namespace, missing.name) is not None
        except ApiForbidden:  # those who wait find out what that means for them
            return True
        except ClusterError as error:
            _log.warning("cannot check whether a missing Secret exists", error=str(error))
            return False

    def _recipe_names(self) -> frozenset[str]:
        try:
            return frozenset(self.recipes.names())
        except RecipesUnavailable:
            return frozenset()
