"""An attempt that changes hands: left running by one operator, adopted by the next, swept away when nobody wants it."""

from __future__ import annotations

import asyncio

import pytest

from projectsetup.api.constants import API_VERSION, KIND
from projectsetup.api.reasons import Reason
from projectsetup.engines.base import CurrentRun, LeftRunning
from projectsetup.engines.kubernetes_job.manifest import is_tombstone
from projectsetup.engines.kubernetes_job.run_control import JOB_CREATION_LIMIT
from projectsetup.kube.job_store import Kind
from projectsetup.setup.types import InfrastructureError, SetupStopped, SetupSucceeded
from tests.support.fake_jobs import Body, FakeJobs
from tests.support.job_orders import PROJECT_ID
from tests.support.job_run import ATTEMPT, BUILD, FETCH, JOB, KEY, MANIFEST, Run, earlier, settle
from tests.support.virtual_time import in_virtual_time, now


async def left(run: Run) -> None:
    """It ends as one that was left alone."""
    with pytest.raises(LeftRunning):
        await run.task
    assert run.count("delete") == 0


async def interrupted(run: Run) -> None:
    """It ends as one that was never started, and never will be."""
    with pytest.raises(InfrastructureError, match="ended before it created Job") as caught:
        await run.task
    assert caught.value.reason is Reason.INTERRUPTED
    run.jobs.deliver()
    assert run.job is not None
    assert is_tombstone(run.job)


@in_virtual_time
async def test_a_job_that_is_followed_is_left_at_once() -> None:
    run = await Run().begin()
    run.pod().run("fetch")
    await settle(5)
    calls = len(run.jobs.calls)
    run.leave.set()
    await settle()
    assert run.task.done()
    await left(run)
    assert len(run.jobs.calls) == calls


@in_virtual_time
async def test_a_job_that_is_being_made_is_made_first() -> None:
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
async def test_a_job_that_cannot_be_made_in_time_is_left_to_the_next_operator() -> None:
    run = Run()
    run.jobs.away = True
    await run.begin()
    began = now()
    run.leave.set()
    await left(run)
    assert now() - began == pytest.approx(JOB_CREATION_LIMIT)
    run.jobs.away = False
    await settle(60)
    assert run.job is None


@in_virtual_time
async def test_cancelled_too_it_is_left_whatever_it_does() -> None:
    creating, following, stopping = Run(), Run(), Run()
    creating.jobs.held = asyncio.Event()
    for run in (creating, following, stopping):
        await run.begin()
    stopping.jobs.clearing_takes = None
    await stopping.cancel()
    for run in (creating, following, stopping):
        run.leave.set()
        run.task.cancel()
        await settle()
        assert run.task.done()
        with pytest.raises(LeftRunning):
            await run.task
    assert (creating.count("delete"), following.count("delete"), stopping.count("delete")) == (0, 0, 1)


@in_virtual_time
async def test_the_next_operator_follows_it_to_its_end() -> None:
    first = await Run().begin()
    pod = first.pod()
    pod.run("fetch")
    pod.print("[projectsetup] step build (2/3)\n")
    await settle(5)
    first.leave.set()
    await left(first)
    pod.print("[projectsetup] step build (2/3)\n")
    second = await Run(first.jobs).adopt()
    await settle(5)
    assert second.told == [BUILD]
    pod.succeed(CODE_COMMIT="c" * 40)
    assert await second.task == SetupSucceeded("c" * 40)
    assert second.count("create") == 1


@in_virtual_time
async def test_the_first_step_of_what_is_adopted_is_told() -> None:
    jobs = FakeJobs()
    jobs.make(MANIFEST)
    jobs.start_pod(KEY).run("fetch")
    run = await Run(jobs).adopt()
    await settle(5)
    assert run.told == [FETCH]
    await run.cancel()
    with pytest.raises(SetupStopped):
        await run.task


@in_virtual_time
async def test_what_ended_while_nobody_looked_has_its_outcome() -> None:
    jobs = FakeJobs()
    jobs.make(MANIFEST)
    jobs.start_pod(KEY).succeed()
    run = await Run(jobs).adopt()
    assert await run.task == SetupSucceeded()
    assert run.count("create") == 0


@in_virtual_time
async def test_what_was_never_made_never_will_be() -> None:
    run = await Run().adopt()
    await interrupted(run)


async def left_with_a_create_under_way() -> Run:
    first = Run()
    first.jobs.late = 1
    await first.begin()
    first.leave.set()
    first.task.cancel()
    await left(first)
    return first


@in_virtual_time
async def test_a_create_that_comes_after_the_tombstone_is_too_late() -> None:
    first = await left_with_a_create_under_way()
    second = await Run(first.jobs).adopt()
    await interrupted(second)


@in_virtual_time
async def test_a_create_that_comes_between_two_questions_is_adopted() -> None:
    first = await left_with_a_create_under_way()
    first.jobs.held = asyncio.Event()
    second = await Run(first.jobs).adopt()
    first.jobs.deliver()
    first.jobs.held.set()
    await settle()
    assert not second.task.done()
    second.pod().succeed()
    assert await second.task == SetupSucceeded()


@in_virtual_time
async def test_a_tombstone_that_is_there_already_is_enough() -> None:
    run = await Run().adopt()
    await interrupted(run)
    again = await Run(run.jobs).adopt()
    await interrupted(again)
    assert len(run.jobs.jobs) == 1


@in_virtual_time
async def test_an_operator_that_finds_a_tombstone_under_its_name_starts_nothing() -> None:
    jobs = FakeJobs()
    await interrupted(await Run(jobs).adopt())
    await interrupted(await Run(jobs).begin())


@in_virtual_time
async def test_adoption_waits_for_the_api_server() -> None:
    jobs = FakeJobs()
    jobs.make(MANIFEST)
    pod = jobs.start_pod(KEY)
    jobs.away = True
    run = await Run(jobs).adopt()
    await settle(3600)
    pod.succeed()
    jobs.away = False
    assert await run.task == SetupSucceeded()


@in_virtual_time
async def test_a_tombstone_that_is_refused_breaks_the_attempt() -> None:
    jobs = FakeJobs()
    jobs.refusal = "create Job team/x: 403 the namespace is being terminated"
    run = await Run(jobs).adopt()
    with pytest.raises(InfrastructureError, match="being terminated"):
        await run.task


@in_virtual_time
async def test_tombstones_are_no_obstacle_to_the_next_attempt() -> None:
    jobs = FakeJobs()
    earlier_one = await Run(jobs).adopt(run_name="setup-earlier")
    with pytest.raises(InfrastructureError):
        await earlier_one.task
    run = await Run(jobs).begin()
    assert run.job is not None
    assert run.count("delete") == 0


@in_virtual_time
async def test_a_sweep_deletes_what_may_still_run_and_nobody_wants() -> None:
    jobs = FakeJobs()
    unwanted = earlier(jobs)
    jobs.start_pod(unwanted).run("fetch")
    ended = earlier(jobs, number=5)
    jobs.start_pod(ended).succeed()
    failed = earlier(jobs, number=6)
    jobs.end_job(failed, "Failed")
    jobs.make(MANIFEST)
    run = Run(jobs)
    await run.sweep(JOB)
    assert [call for call in jobs.calls if call.startswith("delete")] == [f"delete {unwanted[1]}"]
    await run.sweep(JOB)
    assert run.count("delete") == 1


@in_virtual_time
async def test_a_pod_that_is_about_to_be_replaced_is_no_end_for_a_sweep() -> None:
    jobs = FakeJobs()
    unwanted = earlier(jobs)
    pod = jobs.start_pod(unwanted)
    pod.run("fetch")
    pod.be_evicted()
    run = Run(jobs)
    await run.sweep()
    assert run.count("delete") == 1


@in_virtual_time
async def test_a_tombstone_stays_while_it_is_young_or_its_project_is_not_finished() -> None:
    run = await Run().adopt()
    await interrupted(run)
    await run.sweep()
    assert run.job is not None
    await settle(600)
    await run.sweep(over=False)
    assert run.count("delete") == 0
    await run.sweep()
    assert run.count("delete") == 1


@in_virtual_time
async def test_what_is_started_while_a_sweep_looks_is_wanted() -> None:
    jobs = FakeJobs()
    run = Run(jobs)

    unwanted = earlier(jobs)

    def find_run(_namespace: str, _name: str) -> CurrentRun:
        jobs.make(MANIFEST)
        return CurrentRun(ATTEMPT.uid, JOB, is_over=False)

    await run.engine.collect_garbage(find_run)
    assert [call for call in jobs.calls if call.startswith("delete")] == [f"delete {unwanted[1]}"]


@in_virtual_time
@pytest.mark.parametrize(
    "owners",
    [
        [],
        [{"apiVersion": API_VERSION, "kind": KIND, "name": str(PROJECT_ID), "uid": "another", "controller": True}],
        [{"apiVersion": API_VERSION, "kind": KIND, "name": str(PROJECT_ID), "uid": ATTEMPT.uid}],
        [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ATTEMPT.uid, "controller": True}],
    ],
    ids=["nobody", "another ProjectSetup", "an owner that does not control it", "something else"],
)
async def test_a_sweep_leaves_alone_what_no_projectsetup_controls(owners: list[Body]) -> None:
    jobs = FakeJobs()
    jobs.jobs[earlier(jobs)]["metadata"]["ownerReferences"] = owners
    run = Run(jobs)
    jobs.tell(Kind.JOBS, next(iter(jobs.jobs.values())))
    await run.sweep()
    assert run.count("delete") == 0


@in_virtual_time
async def test_a_sweep_without_knowledge_or_answers_is_an_error() -> None:
    jobs = FakeJobs()
    earlier(jobs)
    jobs.complete = False
    with pytest.raises(InfrastructureError):
        await Run(jobs).sweep()
    jobs.complete, jobs.away = True, True
    with pytest.raises(InfrastructureError, match="connection refused"):
        await Run(jobs).sweep()
