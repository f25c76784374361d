"""Following ProjectSetups as they change, through outages of the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.cli.cluster import Setups
from projectsetup.kube.client import Body
from projectsetup.kube.errors import ApiForbidden, ApiUnavailable

PAUSE: Final = 1.0
"""Seconds between two connections."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Observed:
    """A ProjectSetup as it was at one moment, parsed once, when it is first asked for."""

    body: Body

    @cached_property
    def resource(self) -> ProjectSetupResource:
        """The parsed object."""
        return parse_resource(self.body)

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.body["metadata"]["namespace"], self.body["metadata"]["name"]


Found = Mapping[Key, Observed]


class Follower:
    """Follows one ProjectSetup, those of a namespace, or (without a namespace) all."""

    def __init__(
        self, setups: Setups, namespace: str | None, name: str | None, *, on_outage: Callable[[str], None]
    ) -> None:
        """`on_outage` is told in one line why the API server is away, once each time that it goes away."""
        self._setups = setups
        self._namespace = namespace
        self._name = name
        self._on_outage = on_outage
        self._away = False

    async def run(self, on_change: Callable[[Found], bool]) -> None:
        """Tell `on_change` what there is, at first and after each change, until it answers True: seen enough.

        An API server that is away is waited for; one that forbids it is not.
        """
        while True:
            if await self._follow(on_change):
                return
            await asyncio.sleep(PAUSE)

    async def _follow(self, on_change: Callable[[Found], bool]) -> bool:
        try:
            bodies, version = await self._read()
            self._away = False
            found = {observed.key: observed for observed in map(Observed, bodies)}
            if on_change(found):
                return True
            async with aclosing(self._setups.changes(self._namespace, self._name, version)) as changes:
                async for kind, body in changes:
                    observed = Observed(body)
                    found.pop(observed.key, None)
                    if kind != "DELETED":
                        found[observed.key] = observed
                    if on_change(found):
                        return True
        except ApiForbidden:
            raise
        except ApiUnavailable as error:
            if not self._away:
                self._on_outage(str(error))
            self._away = True
        return False

    async def _read(self) -> tuple[list[Body], str]:
        if self._namespace is None or self._name is None:
            return await self._setups.list(self._namespace)
        body = await self._setups.find(self._namespace, self._name)
        return ([], "") if body is None else ([body], body["metadata"]["resourceVersion"])
