"""What the dashboard knows of the cluster, as it changes, goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from projectsetup.dashboard.sight import Found, Key, Sight
from projectsetup.kube.errors import ApiForbidden
from tests.support.setup_bodies import body


@dataclass(frozen=True)
class Seen:
    """A ProjectSetup at one moment."""

    body: dict[str, Any]


class Cluster:
    """Follows nothing: a test tells what is to be seen."""

    def __init__(self) -> None:
        self.sight = Sight(self._follow, cast(Any, None), "default")
        self._task = asyncio.create_task(self.sight.follow_setups())
        self._told = asyncio.Event()
        self._broken = asyncio.get_running_loop().create_future()

    async def _follow(self, on_change: Callable[[Found], bool], on_outage: Callable[[str], None]) -> None:
        self.tell, self.lose = on_change, on_outage
        self._told.set()
        raise await self._broken

    async def followed(self) -> None:
        """Return once `tell` and `lose` can be called."""
        async with asyncio.timeout(60):
            await self._told.wait()

    async def breaks(self, error: Exception) -> None:
        """Following ends by this error; return when that was taken note of, or raise what comes of it."""
        self._broken.set_result(error)
        async with asyncio.timeout(60):
            while self.sight.outage is None:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0)
        self._task.cancel()


def seen(name: str, version: str, uid: str = "1") -> tuple[Key, Seen]:
    return ("team-a", name), Seen(body(name=name, uid=uid, resourceVersion=version))


@pytest.fixture
async def cluster() -> Cluster:
    cluster = Cluster()
    await cluster.followed()
    return cluster


async def test_only_what_changed_is_made_anew(cluster: Cluster) -> None:
    assert not cluster.sight.complete
    cluster.tell(dict([seen("a", "1"), seen("b", "1"), seen("c", "1")]))
    before = {row.name: row for row in await cluster.sight.rows()}
    cluster.tell(dict([seen("a", "1"), seen("b", "2"), seen("c", "1", uid="2"), seen("d", "1")]))
    after = {row.name: row for row in await cluster.sight.rows()}
    assert cluster.sight.complete
    assert {name: after[name] is before.get(name) for name in after} == {"a": True, "b": False, "c": False, "d": False}
    cluster.tell({})
    assert await cluster.sight.rows() == []


async def test_an_outage_keeps_what_is_known_and_ends(cluster: Cluster) -> None:
    cluster.tell(dict([seen("a", "1")]))
    cluster.lose("connection\nrefused")
    outage = cluster.sight.outage
    assert outage is not None
    assert outage.why == "connection refused"
    assert cluster.sight.has(("team-a", "a"))
    cluster.tell({})
    assert cluster.sight.outage is None


async def test_rights_that_are_missing_at_first_end_it(cluster: Cluster) -> None:
    with pytest.raises(ApiForbidden):
        await cluster.breaks(ApiForbidden("list ProjectSetups: 403 no"))


async def test_rights_that_were_taken_away_are_an_outage(cluster: Cluster) -> None:
    cluster.tell(dict([seen("a", "1")]))
    await cluster.breaks(ApiForbidden("list ProjectSetups: 403 no"))
    assert cluster.sight.outage is not None
    assert cluster.sight.has(("team-a", "a"))
