"""The dashboard's view of the cluster through changes and outages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from projectsetup.dashboard.state import ClusterState
from projectsetup.kube.errors import ApiForbidden, ApiUnavailable, ClusterError
from projectsetup.kube.setups import COMMAND_LINE, SetupClient
from tests.support.fake_collection import NAMESPACE, FakeCollection
from tests.support.setup_bodies import body
from tests.support.virtual_time import in_virtual_time


class Dashboard:
    """A dashboard's state, and the ProjectSetups that it follows."""

    def __init__(self, *failures: ClusterError) -> None:
        self.setups = FakeCollection()
        self.setups.fail_lists = [*failures]
        client = SetupClient(cast(Any, None), field_manager=COMMAND_LINE)
        client._client = self.setups
        self.state = ClusterState(client, self.setups, NAMESPACE, "default")
        self.task = asyncio.create_task(self.state.follow_setups())

    def put(self, name: str, uid: str = "1") -> None:
        created = body(name=name, uid=uid)
        created["metadata"].pop("resourceVersion")
        self.setups.put(name, **created)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until this holds, or raise what ended the following."""
        async with asyncio.timeout(600):
            while not holds():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.01)


async def test_only_rows_of_changed_setups_are_made_again() -> None:
    dashboard = Dashboard()
    assert not dashboard.state.complete
    for name in "abc":
        dashboard.put(name)
    await dashboard.until(lambda: dashboard.state.complete and dashboard.setups.open_watches == 1)
    before = {row.name: row for row in await dashboard.state.rows()}
    dashboard.put("b")
    dashboard.setups.delete("c")
    dashboard.put("d")
    await dashboard.until(lambda: dashboard.state.has((NAMESPACE, "d")))
    after = {row.name: row for row in await dashboard.state.rows()}
    assert {name: after[name] is before.get(name) for name in after} == {"a": True, "b": False, "d": False}


@pytest.mark.parametrize("error", [ApiUnavailable("connection\nrefused"), ApiForbidden("list: 403 no")])
@in_virtual_time
async def test_an_outage_keeps_the_last_state_and_ends(error: ClusterError) -> None:
    dashboard = Dashboard()
    dashboard.put("a")
    await dashboard.until(lambda: dashboard.setups.open_watches == 1)
    dashboard.setups.fail_lists = [error]
    dashboard.setups.send_raw(b"{\n")
    await dashboard.until(lambda: not dashboard.setups.fail_lists)
    outage = dashboard.state.outage
    assert outage is not None
    assert outage.why == " ".join(str(error).split())
    assert dashboard.state.has((NAMESPACE, "a"))
    await dashboard.until(lambda: dashboard.state.outage is None)


@in_virtual_time
async def test_missing_rights_at_the_start_end_the_dashboard() -> None:
    dashboard = Dashboard(ApiForbidden("list ProjectSetups: 403 no"))
    with pytest.raises(ApiForbidden):
        await dashboard.until(lambda: False)
