"""An attempt that changes hands: left running by one operator, adopted by the next."""

from __future__ import annotations

import asyncio

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.base import LeftRunning
from projectsetup.engines.kubernetes_job.manifest import is_tombstone
from projectsetup.engines.kubernetes_job.run_control import JOB_CREATION_LIMIT
from projectsetup.setup.types import InfrastructureError, SetupStopped, SetupSucceeded
from tests.support.fake_jobs import FakeJobs
from tests.support.job_run import FETCH, Run, existing, running, settle
from tests.support.virtual_time import in_virtual_time, now


async def left(run: Run) -> None:
    """Wait until the attempt was left running."""
    with pytest.raises(LeftRunning):
        await run.task
    assert run.count("delete") == 0


async def interrupted(run: Run) -> None:
    """Wait until the attempt was interrupted before its Job was created, which never will be."""
    await run.expect_failure(Reason.INTERRUPTED, "ended before it created Job")
    run.jobs.deliver()
    assert is_tombstone(run.existing_job)


@in_virtual_time
async def test_a_monitored_job_is_left_at_once() -> None:
    run, _ = await running("fetch")
    calls = len(run.jobs.calls)
    run.leave.set()
    await settle()
    assert run.task.done()
    await left(run)
    assert len(run.jobs.calls) == calls


@in_virtual_time
async def test_a_job_that_is_being_created_is_created_first() -> None:
    run = Run()
    run.jobs.held = asyncio.Event()
    await run.begin()
    run.leave.set()
    await settle(JOB_CREATION_LIMIT / 2)
    assert not run.task.done()
    run.jobs.held.set()
    await settle()
    await left(run)
    assert run.job is not None


@in_virtual_time
async def test_a_job_that_cannot_be_created_in_time_is_left_to_the_next_operator() -> None:
    run = Run()
    run.jobs.down = True
    await run.begin()
    began = now()
    run.leave.set()
    await left(run)
    assert now() - began == pytest.approx(JOB_CREATION_LIMIT)
    run.jobs.down = False
    await settle(60)
    assert run.job is None


@in_virtual_time
async def test_an_attempt_that_is_cancelled_as_well_is_left_whatever_it_does() -> None:
    creating, monitored, stopping = Run(), Run(), Run()
    creating.jobs.held = asyncio.Event()
    for run in (creating, monitored, stopping):
        await run.begin()
    stopping.jobs.deletion_takes = None
    await stopping.cancel()
    for run in (creating, monitored, stopping):
        run.leave.set()
        run.task.cancel()
        await settle()
        assert run.task.done()
        with pytest.raises(LeftRunning):
            await run.task
    assert (creating.count("delete"), monitored.count("delete"), stopping.count("delete")) == (0, 0, 1)


@in_virtual_time
async def test_the_first_step_of_an_adopted_attempt_is_reported() -> None:
    run = await Run(existing("fetch")[0]).adopt()
    await settle(5)
    assert run.progress == [FETCH]
    await run.cancel()
    with pytest.raises(SetupStopped):
        await run.task


@in_virtual_time
async def test_adoption_waits_for_the_api_server() -> None:
    jobs, pod = existing()
    jobs.down = True
    run = await Run(jobs).adopt()
    await settle(3600)
    pod.succeed()
    jobs.down = False
    assert await run.task == SetupSucceeded()


@in_virtual_time
async def test_a_job_that_was_never_created_never_will_be() -> None:
    jobs = FakeJobs()
    for run in (await Run(jobs).adopt(), await Run(jobs).adopt(), await Run(jobs).begin()):
        await interrupted(run)
    assert len(jobs.jobs) == 1
    await interrupted(await Run((await left_with_a_delayed_create()).jobs).adopt())


async def left_with_a_delayed_create() -> Run:
    first = Run()
    first.jobs.delayed = 1
    await first.begin()
    first.leave.set()
    first.task.cancel()
    await left(first)
    return first


@in_virtual_time
async def test_a_job_that_arrives_just_before_the_tombstone_is_adopted() -> None:
    first = await left_with_a_delayed_create()
    first.jobs.held = asyncio.Event()
    second = await Run(first.jobs).adopt()
    first.jobs.deliver()
    first.jobs.held.set()
    await settle()
    assert not second.task.done()
    second.pod().succeed()
    assert await second.task == SetupSucceeded()


@in_virtual_time
async def test_a_refused_tombstone_breaks_the_attempt() -> None:
    jobs = FakeJobs()
    jobs.refusal = "create Job team/x: 403 the namespace is being terminated"
    run = await Run(jobs).adopt()
    with pytest.raises(InfrastructureError, match="being terminated"):
        await run.task


@in_virtual_time
async def test_tombstones_do_not_hold_up_the_next_attempt() -> None:
    jobs = FakeJobs()
    earlier_one = await Run(jobs).adopt(run_name="setup-earlier")
    with pytest.raises(InfrastructureError):
        await earlier_one.task
    run = await Run(jobs).begin()
    assert run.job is not None
    assert run.count("delete") == 0
