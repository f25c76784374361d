"""The database is probed on schedule, is up once a write would pass, and a relapse causes no busy loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from structlog.testing import capture_logs

from projectsetup.controller.database_health import DatabaseHealth
from projectsetup.projects.errors import DatabaseUnavailable
from tests.support.virtual_time import in_virtual_time, now


class Database:
    """Serves reads and writes as configured; notes when it was probed."""

    def __init__(self, *, reads: bool = True, writes: bool = True) -> None:
        self.reads, self.writes = reads, writes
        self.probes: list[float] = []

    async def ping(self) -> None:
        self._probe(self.reads)

    async def try_write(self) -> None:
        self._probe(self.writes)

    def _probe(self, works: bool) -> None:
        self.probes.append(now())
        if not works:
            raise DatabaseUnavailable("is read-only now")


@asynccontextmanager
async def watched(database: Database) -> AsyncIterator[DatabaseHealth]:
    health = DatabaseHealth(database.ping, database.try_write)
    watch = asyncio.create_task(health.watch())
    await asyncio.sleep(0)
    yield health
    watch.cancel()


@in_virtual_time
async def test_it_recovers_when_a_write_would_pass_and_not_before() -> None:
    database = Database(writes=False)
    recoveries: list[float] = []
    async with watched(database) as health:
        health.on_recovery(lambda: recoveries.append(now()))
        await asyncio.sleep(100)
        with capture_logs() as lines:
            health.mark_down("is read-only now")
            failed = now()
            await asyncio.sleep(60)
            assert health.problem is not None
            probes = [at for at in database.probes if at >= failed]
            assert 55 <= len(probes) <= 61
            assert min(later - earlier for earlier, later in pairwise(probes)) >= 1
            database.writes = True
            await asyncio.sleep(1)
        assert health.problem is None
        assert len(recoveries) == 1
        assert [line["event"] for line in lines] == ["database unavailable; waiting for it", "database available again"]


@in_virtual_time
async def test_a_failure_that_no_probe_sees_causes_no_busy_loop() -> None:
    database = Database()
    recoveries: list[float] = []

    def write_again() -> None:
        recoveries.append(now())
        health.mark_down("a write that always fails")

    async with watched(database) as health:
        health.on_recovery(write_again)
        await asyncio.sleep(5)
        with capture_logs() as lines:
            health.mark_down("a write that always fails")
            await asyncio.sleep(600)
        assert len(recoveries) <= 30
        assert len(lines) <= 62
        assert len(database.probes) <= 32
        waited = [later - earlier for earlier, later in pairwise(recoveries)]
        assert waited[:4] == [2, 4, 8, 16]
        assert set(waited[4:]) == {30}


@in_virtual_time
async def test_a_failure_after_a_steady_time_is_no_relapse() -> None:
    database = Database()
    async with watched(database) as health:
        for _ in range(4):
            health.mark_down("unavailable")
            await asyncio.sleep(40)
        await asyncio.sleep(60)
        health.mark_down("unavailable")
        await asyncio.sleep(1)
        assert health.problem is None
