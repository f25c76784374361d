"""Secrets and recipes that ProjectSetups name but that do not exist (yet)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from projectsetup.controller.ports import Cluster
from projectsetup.controller.workqueue import Key
from projectsetup.kube.errors import ApiForbidden, ClusterError
from projectsetup.observe.logs import get_logger
from projectsetup.recipes.errors import RecipesUnavailable
from projectsetup.recipes.loader import RecipeBook

CHECK_PERIOD: Final = 5.0
"""Seconds between two checks of what is missing; a ProjectSetup continues within 10 s once its dependency exists."""
MAX_SECRETS: Final = 100
"""Most Secrets of one namespace that one check reads; a namespace with more waits longer, and no other does."""

_log = get_logger("dependencies")


@dataclass(frozen=True, slots=True)
class Missing:
    """A Secret of a namespace, or a recipe (its namespace is empty), that does not exist."""

    namespace: str
    name: str
    message: str = field(compare=False)

    @classmethod
    def recipe(cls, name: str, why: str) -> Self:
        """A recipe; `why` says in one line that it does not exist."""
        return cls("", name, why)

    @classmethod
    def secret(cls, namespace: str, name: str) -> Self:
        """The Secret that holds the credentials."""
        return cls(namespace, name, f"Secret {name} of spec.credentialsSecretRef does not exist")


@dataclass(slots=True)
class MissingDependencies:
    """Checks each missing dependency once a period, however many wait for it; calls `wake` for them when it exists."""

    cluster: Cluster
    recipes: RecipeBook
    wake: Callable[[Key], None]
    _waiting: dict[Missing, set[Key]] = field(default_factory=dict)
    _awaited: dict[Key, Missing] = field(default_factory=dict)

    def wait(self, key: Key, missing: Missing) -> None:
        """Wake `key` when this exists."""
        self.forget(key)
        self._awaited[key] = missing
        self._waiting.setdefault(missing, set()).add(key)

    def forget(self, key: Key) -> None:
        """Stop waiting on behalf of `key`."""
        missing = self._awaited.pop(key, None)
        if missing is not None:
            keys = self._waiting[missing]
            keys.discard(key)
            if not keys:
                del self._waiting[missing]

    def lacks(self, missing: Missing) -> bool:
        """Whether others already wait for it, so that it need not be read: it was missing a moment ago."""
        return missing in self._waiting

    def __len__(self) -> int:
        return len(self._awaited)

    async def watch(self) -> None:
        """Check forever."""
        while True:
            await asyncio.sleep(CHECK_PERIOD)
            await self.check()

    async def check(self) -> None:
        """Wake the keys whose dependency exists now."""
        recipes = self._recipe_names()
        for missing in self._next():
            if await self._has_secret(missing) if missing.namespace else missing.name in recipes:
                for key in self._waiting.pop(missing, ()):
                    del self._awaited[key]
                    self.wake(key)
            elif missing in self._waiting:
                self._waiting[missing] = self._waiting.pop(missing)  # next time, others come first

    def _next(self) -> list[Missing]:
        """All recipes, and from each namespace the Secrets that were not read for longest."""
        read: Counter[str] = Counter()
        chosen: list[Missing] = []
        for missing in self._waiting:
            read[missing.namespace] += 1
            if not missing.namespace or read[missing.namespace] <= MAX_SECRETS:
                chosen.append(missing)
        return chosen

    async def _has_secret(self, missing: Missing) -> bool:
        try:
            return await self.cluster.get_secret(missing.namespace, missing.name) is not None
        except ApiForbidden:  # the reconciler decides what that means
            return True
        except ClusterError as error:
            _log.warning("cannot check whether a missing Secret exists", error=str(error))
            return False

    def _recipe_names(self) -> frozenset[str]:
        try:
            return frozenset(self.recipes.names())
        except RecipesUnavailable:
            return frozenset()
