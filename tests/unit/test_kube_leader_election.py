"""Leader election against a Lease in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import InitVar, dataclass, field, replace
from itertools import pairwise

import pytest

from projectsetup.engines.local.supervisor.protocol import CLOCK_CHECK_INTERVAL, SILENCE_LIMIT
from projectsetup.engines.local.supervisor_client import KILL_LIMIT
from projectsetup.kube.errors import ApiConflict, ApiForbidden, ApiNotFound, ApiUnavailable, ClusterError
from projectsetup.kube.leader import LeaseLost
from projectsetup.kube.leader_election import (
    CALL_TIMEOUT,
    LAST_WRITE_DEADLINE,
    RENEW_DEADLINE,
    RENEW_PERIOD,
    LeaderElection,
)
from projectsetup.kube.lease import DYING, LEASE_DURATION, LeaseClient, LeaseRecord
from tests.support.virtual_time import freeze, in_virtual_time, now

US, THEM = "us", "them"
QUICK = 0.01
"""Seconds that a call takes."""


@dataclass
class FakeLease(LeaseClient):
    """A Lease as the API server keeps it. `trouble` is raised instead of an answer; `lost` after the write was done."""

    record: LeaseRecord | None = None
    trouble: ClusterError | None = None
    lost: ClusterError | None = None
    hangs: bool = False
    seconds: float = QUICK
    writes: list[tuple[float, str]] = field(default_factory=list)

    async def read(self) -> LeaseRecord | None:
        await self._answer()
        return self.record

    async def create(self, holder: str) -> LeaseRecord:
        await self._answer()
        if self.record is not None:
            raise ApiConflict("it exists already")
        return self.store(holder)

    async def write(self, holder: str, seen: LeaseRecord) -> LeaseRecord:
        await self._answer()
        if self.record is None:
            raise ApiNotFound("there is none")
        if self.record.resource_version != seen.resource_version:
            raise ApiConflict("it has changed")
        stored = self.store(holder)
        if self.lost is not None:
            raise self.lost
        return stored

    def store(self, holder: str) -> LeaseRecord:
        """Write it, whoever does."""
        version = int(self.record.resource_version) + 1 if self.record else 1
        self.record = LeaseRecord(holder, str(version), 0, "")
        self.writes.append((now(), holder))
        return self.record

    def touch(self) -> None:
        """Change it without renewing it, as somebody does who annotates it."""
        assert self.record is not None
        self.record = replace(self.record, resource_version=str(int(self.record.resource_version) + 1))

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.sleep(CALL_TIMEOUT)
            raise ApiUnavailable("it does not answer")
        await asyncio.sleep(self.seconds)
        if self.trouble is not None:
            raise self.trouble


@dataclass
class World:
    """A Lease with this holder, and whom of its holders we know to be dead."""

    holder: InitVar[str | None] = None
    lease: FakeLease = field(default_factory=FakeLease)
    dead: set[str] = field(default_factory=set)

    def __post_init__(self, holder: str | None) -> None:
        if holder is not None:
            self.lease.store(holder)

    def operator(self, identity: str = US) -> LeaderElection:
        return LeaderElection(self.lease, identity, is_dead=self.dead.__contains__, clock=now)


@asynccontextmanager
async def holding(world: World) -> AsyncIterator[LeaderElection]:
    """A leader that keeps the Lease to the end of the block."""
    leader = await leading(world)
    task = asyncio.create_task(leader.hold())
    yield leader
    assert not task.done()
    task.cancel()


async def passes(work: Awaitable[object]) -> float:
    """The seconds that `work` takes."""
    began = now()
    await work
    return now() - began


async def lost(leader: LeaderElection) -> str:
    """Why `hold` gave up."""
    with pytest.raises(LeaseLost) as lost:
        await leader.hold()
    return str(lost.value)


def may_write(leader: LeaderElection) -> bool:
    try:
        leader.check()
    except LeaseLost:
        return False
    return True


async def leading(world: World) -> LeaderElection:
    leader = world.operator()
    await leader.acquire()
    return leader


@in_virtual_time
async def test_a_lease_that_is_not_renewed_is_taken_after_its_duration_and_not_before() -> None:
    world = World(THEM)
    assert LEASE_DURATION <= await passes(world.operator().acquire()) <= LEASE_DURATION + 2


@in_virtual_time
async def test_a_slow_answer_does_not_make_the_lease_look_older() -> None:
    """It was asked for before the last renewal and answered after it."""
    world = World(THEM)
    world.lease.seconds = 3.9
    standby = asyncio.create_task(world.operator().acquire())
    await asyncio.sleep(3.8)
    world.lease.store(THEM)
    renewed = now()
    world.lease.seconds = QUICK
    await standby
    assert now() - renewed >= LEASE_DURATION


@in_virtual_time
async def test_a_renewed_lease_is_not_taken() -> None:
    world = World(THEM)
    standby = asyncio.create_task(world.operator().acquire())
    for _ in range(10):
        await asyncio.sleep(RENEW_DEADLINE)
        world.lease.store(THEM)
    assert not standby.done()
    assert {holder for _, holder in world.lease.writes} == {THEM}
    standby.cancel()


@in_virtual_time
async def test_the_lease_of_a_dead_process_is_taken_when_nothing_of_it_can_be_left() -> None:
    world = World(THEM)
    standby = asyncio.create_task(world.operator().acquire())
    await asyncio.sleep(10)
    world.dead.add(THEM)
    assert DYING <= await passes(standby) <= DYING + 2.1


@in_virtual_time
async def test_of_two_standbys_one_leads() -> None:
    world = World("")
    both = [asyncio.create_task(world.operator(name).acquire()) for name in (US, THEM)]
    done, waiting = await asyncio.wait(both, timeout=LEASE_DURATION / 2)
    assert (len(done), len(waiting)) == (1, 1)
    waiting.pop().cancel()


@in_virtual_time
async def test_the_lease_is_awaited_however_long_the_api_server_is_away() -> None:
    world = World()
    world.lease.trouble = ApiForbidden("not yet")
    standby = asyncio.create_task(world.operator().acquire())
    await asyncio.sleep(600)
    world.lease.trouble = None
    assert await passes(standby) < 2


@in_virtual_time
async def test_it_is_renewed_every_few_seconds() -> None:
    world = World()
    async with holding(world):
        await asyncio.sleep(600)
    times = [time for time, _ in world.lease.writes]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(RENEW_PERIOD <= gap <= RENEW_PERIOD + 1.1 for gap in gaps)


@pytest.mark.parametrize("hangs", [True, False])
@pytest.mark.parametrize("renews", [True, False])
@in_virtual_time
async def test_who_cannot_renew_gives_up_at_the_deadline_after_the_last_request(hangs: bool, renews: bool) -> None:
    world = World()
    world.lease.seconds = 3.0
    leader = await leading(world)
    requested = now() - 3.0
    if renews:
        renewing = asyncio.create_task(leader.hold())
        await asyncio.sleep(RENEW_PERIOD)
        requested = now()
        await asyncio.sleep(3.5)
        renewing.cancel()
    world.lease.hangs = hangs
    world.lease.trouble = ApiUnavailable("away")
    assert await lost(leader) == "the Lease was not renewed for 20 s"
    assert now() - requested == pytest.approx(RENEW_DEADLINE, abs=0.1)


@in_virtual_time
async def test_a_short_outage_is_survived() -> None:
    world = World()
    async with holding(world) as leader:
        for _ in range(5):
            world.lease.hangs = True
            await asyncio.sleep(RENEW_DEADLINE - RENEW_PERIOD - CALL_TIMEOUT - 1)
            assert may_write(leader)
            world.lease.hangs = False
            await asyncio.sleep(RENEW_PERIOD + CALL_TIMEOUT + 1)


@in_virtual_time
async def test_ended_attempts_may_be_reported_until_just_before_another_can_lead() -> None:
    world = World()
    leader = await leading(world)
    world.lease.trouble = ApiUnavailable("away")
    await lost(leader)
    assert not may_write(leader)
    leader.allow_last_writes()
    assert may_write(leader)
    await asyncio.sleep(LAST_WRITE_DEADLINE - RENEW_DEADLINE)
    assert not may_write(leader)


@in_virtual_time
async def test_who_was_frozen_may_not_write_and_gives_up() -> None:
    world = World()
    leader = await leading(world)
    renewing = asyncio.create_task(leader.hold())
    await asyncio.sleep(1)
    freeze(60)
    assert not may_write(leader)
    with pytest.raises(LeaseLost):
        await renewing
    assert len(world.lease.writes) == 1
    leader.allow_last_writes()
    assert not may_write(leader)


def test_what_a_frozen_leader_runs_is_gone_before_another_can_lead_even_when_it_could_not_renew_for_long() -> None:
    assert RENEW_DEADLINE + SILENCE_LIMIT + CLOCK_CHECK_INTERVAL + KILL_LIMIT < LEASE_DURATION


@pytest.mark.parametrize("thief", [THEM, None])
@in_virtual_time
async def test_a_lease_that_was_taken_or_deleted_ends_the_leader_at_its_next_renewal(thief: str | None) -> None:
    world = World()
    leader = await leading(world)
    if thief is None:
        world.lease.record = None
    else:
        world.lease.store(thief)
    assert await lost(leader) == f"the Lease is held by {thief or 'nobody'}"
    leader.allow_last_writes()
    assert not may_write(leader)
    await leader.release()
    assert world.lease.record is None or world.lease.record.holder == thief


@in_virtual_time
async def test_a_lost_answer_or_an_annotation_costs_one_renewal() -> None:
    world = World()
    async with holding(world) as leader:
        world.lease.lost = ApiUnavailable("cut")
        await asyncio.sleep(RENEW_PERIOD + 0.5)
        world.lease.lost = None
        await asyncio.sleep(RENEW_PERIOD)
        world.lease.touch()
        await asyncio.sleep(600)
        assert may_write(leader)


@pytest.mark.parametrize("holder", [None, "", US])
@in_virtual_time
async def test_an_absent_or_released_lease_and_our_own_are_taken_at_once(holder: str | None) -> None:
    world = World(holder)
    leader = world.operator()
    assert not may_write(leader)
    assert await passes(leader.acquire()) < 1
    assert may_write(leader)
    assert world.lease.record is not None
    assert world.lease.record.holder == US


@in_virtual_time
async def test_a_released_lease_is_free_and_its_old_holder_silent() -> None:
    world = World()
    leader = await leading(world)
    world.lease.store(US)  # by the last renewal, which was not awaited
    await leader.release()
    assert not may_write(leader)
    assert world.lease.record is not None
    assert world.lease.record.holder == ""
    await leader.release()
    leader = await leading(world)
    world.lease.trouble = ApiUnavailable("away")
    assert await passes(leader.release()) < CALL_TIMEOUT
    assert not may_write(leader)
