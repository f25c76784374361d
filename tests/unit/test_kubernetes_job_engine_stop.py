"""An attempt that is cancelled: stopped, and told so only when nothing of it is alive, unless it had succeeded."""

from __future__ import annotations

import asyncio

import pytest

from projectsetup.engines.kubernetes_job.manifest import is_tombstone
from projectsetup.setup.types import SetupStopped, SetupSucceeded
from tests.support.fake_jobs import FakeJobs
from tests.support.job_run import JOB, KEY, MANIFEST, Run, earlier, settle
from tests.support.virtual_time import in_virtual_time


async def stopped(run: Run) -> None:
    """It ends as one that was stopped, and nothing can come of it any more."""
    with pytest.raises(SetupStopped):
        await run.task
    run.jobs.deliver()
    assert all(is_tombstone(job) for job in run.jobs.jobs.values())
    assert run.jobs.pods == {}


@in_virtual_time
async def test_a_running_job_is_deleted_and_gone_before_it_is_told() -> None:
    run = await Run().begin()
    run.pod().run("fetch")
    run.jobs.clearing_takes = 9.0
    await run.cancel()
    assert run.job is not None
    assert run.job["metadata"]["deletionTimestamp"]
    await settle(8)
    assert not run.task.done()
    await stopped(run)
    assert run.count("delete") == 1


@in_virtual_time
async def test_to_be_cancelled_again_changes_nothing() -> None:
    run = await Run().begin()
    run.pod().run("fetch")
    run.jobs.clearing_takes = 9.0
    for _ in range(5):
        await run.cancel()
        await settle(1)
    await stopped(run)
    assert run.count("delete") == 1


@in_virtual_time
async def test_a_job_that_has_succeeded_is_left_and_its_outcome_wins() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    await settle(5)
    run.jobs.deaf = True
    pod.succeed(CODE_COMMIT="c" * 40)
    await run.cancel()
    assert await run.task == SetupSucceeded("c" * 40)
    assert run.count("delete") == 0


@in_virtual_time
async def test_a_pod_that_succeeds_while_it_is_deleted_wins() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    run.jobs.clearing_takes = None
    await run.cancel()
    assert run.count("delete") == 1
    pod.succeed(CODE_COMMIT="c" * 40)
    run.jobs.clear(KEY)
    assert await run.task == SetupSucceeded("c" * 40)


@in_virtual_time
async def test_a_pod_that_fails_while_it_is_deleted_does_not_and_is_waited_for() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    run.jobs.clearing_takes = None
    await run.cancel()
    pod.fail(143)
    await settle(5)
    assert not run.task.done()
    run.jobs.clear(KEY)
    await stopped(run)


@in_virtual_time
@pytest.mark.parametrize(("deaf", "commit"), [(False, "c" * 40), (True, None)])
async def test_a_job_that_has_succeeded_wins_although_its_pod_is_gone(deaf: bool, commit: str | None) -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    await settle(5)
    run.jobs.deaf = deaf
    pod.succeed(CODE_COMMIT="c" * 40)
    run.jobs.clear_pods(KEY)
    run.jobs.end_job(KEY, "Complete")
    run.task.cancel()
    assert await run.task == SetupSucceeded(commit)
    assert run.count("delete") == 0


@in_virtual_time
async def test_a_pod_that_does_not_go_away_is_waited_for_and_told_to_linger() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    run.jobs.clearing_takes = None
    await settle(5)
    await run.cancel()
    await settle(50)
    assert not any(update.lingers for update in run.told)
    await settle(20)
    assert run.told[-1].lingers
    assert run.told[-1].waits_for == f"stopped, but still waiting for {pod.name} to end"
    await settle(3600)
    assert not run.task.done()
    run.jobs.clear(KEY)
    await stopped(run)


@in_virtual_time
async def test_a_job_that_somebody_keeps_is_gone_when_its_pods_have_ended() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    run.jobs.clearing_takes = None
    await run.cancel()
    await settle(60)
    assert not run.task.done()
    pod.fail(143)
    with pytest.raises(SetupStopped):
        await run.task
    assert run.job is not None


@in_virtual_time
async def test_a_job_that_is_being_made_is_made_and_then_deleted() -> None:
    run = Run()
    run.jobs.held = asyncio.Event()
    await run.begin()
    await run.cancel()
    assert not run.task.done()
    run.jobs.held.set()
    await stopped(run)
    assert (run.count("create"), run.count("delete")) == (1, 1)


@in_virtual_time
async def test_a_create_without_an_answer_cannot_succeed_any_more() -> None:
    run = Run()
    run.jobs.late = 1
    await run.begin()
    await run.cancel()
    await stopped(run)
    assert run.job is not None
    assert is_tombstone(run.job)


@in_virtual_time
async def test_a_create_of_which_the_answer_was_lost_is_found_and_deleted() -> None:
    run = Run()
    run.jobs.lost_answers = 1
    await run.begin()
    await run.cancel()
    await stopped(run)
    assert run.job is None
    assert run.count(f"delete {JOB}") == 1


@in_virtual_time
async def test_what_was_never_asked_for_leaves_nothing_behind() -> None:
    jobs = FakeJobs()
    left = earlier(jobs)
    jobs.start_pod(left).run("fetch")
    run = await Run(jobs).begin()
    await run.cancel()
    assert not run.task.done()
    await stopped(run)
    assert jobs.jobs == {}
    assert run.count("create") == 0


@in_virtual_time
async def test_while_the_api_server_is_away_nothing_counts_as_gone() -> None:
    run = await Run().begin()
    run.pod().run("fetch")
    run.jobs.away = True
    await run.cancel()
    await settle(3600)
    assert not run.task.done()
    run.jobs.away = False
    await stopped(run)
    assert run.job is None


@in_virtual_time
async def test_the_api_server_goes_away_while_a_job_is_made() -> None:
    run = Run()
    run.jobs.held = asyncio.Event()
    await run.begin()
    run.jobs.away = True
    run.jobs.held.set()
    await settle(60)
    await run.cancel()
    await settle(600)
    assert not run.task.done()
    run.jobs.away = False
    await stopped(run)


@in_virtual_time
async def test_a_deletion_that_is_refused_is_asked_for_again() -> None:
    run = await Run().begin()
    run.pod().run("fetch")
    run.jobs.refusal = "delete Job: 403 forbidden"
    await run.cancel()
    await settle(600)
    assert not run.task.done()
    run.jobs.refusal = None
    await stopped(run)


@in_virtual_time
async def test_an_adopted_job_is_stopped_as_well() -> None:
    jobs = FakeJobs()
    jobs.make(MANIFEST)
    jobs.start_pod(KEY).run("fetch")
    run = await Run(jobs).adopt()
    await run.cancel()
    await stopped(run)
    assert run.job is None


@in_virtual_time
async def test_a_job_that_fails_as_it_is_cancelled_stays_to_be_looked_at() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    await settle(5)
    run.jobs.deaf = True
    pod.fail(1)
    await run.cancel()
    with pytest.raises(SetupStopped):
        await run.task
    assert run.job is not None
    assert run.count("delete") == 0
