"""Jobs of earlier attempts, the creation of a Job, its deletion, and garbage collection."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from projectsetup.api.constants import API_VERSION, KIND
from projectsetup.api.reasons import Reason
from projectsetup.engines.base import CurrentRun
from projectsetup.engines.kubernetes_job.lifecycle import CHECK_AFTER, STUCK_AFTER
from projectsetup.engines.kubernetes_job.manifest import is_tombstone
from projectsetup.kube.job_cache import Kind
from projectsetup.setup.types import InfrastructureError, NotStarted, SetupStopped, SetupSucceeded
from tests.support.fake_jobs import Body, FakeJobs
from tests.support.job_attempts import PROJECT_ID
from tests.support.job_run import ATTEMPT, JOB, KEY, MANIFEST, Run, earlier, existing, left_running, running, settle
from tests.support.virtual_time import in_virtual_time, now

COMMIT = "c" * 40


# earlier attempts


@in_virtual_time
async def test_a_job_of_an_earlier_attempt_is_deleted_and_gone_before_the_next_is_created() -> None:
    jobs, left, _ = left_running()
    run = await Run(jobs).begin()
    assert run.count(f"delete {left[1]}") == 1
    assert run.job is None
    await settle(jobs.deletion_takes or 0)
    assert left not in jobs.jobs
    assert run.job is not None


@in_virtual_time
async def test_an_earlier_pod_without_its_job_is_waited_for() -> None:
    jobs, left, pod = left_running()
    jobs.jobs.pop(left)
    run = await Run(jobs).begin()
    await settle(290)
    assert run.job is None
    assert run.count("delete") == 0
    pod.fail(1)
    await settle()
    assert run.job is not None


@in_virtual_time
async def test_a_job_of_a_deleted_projectsetup_of_the_same_name_is_waited_for_and_not_deleted() -> None:
    jobs, left, _ = left_running()
    jobs.jobs[left]["metadata"]["ownerReferences"][0]["uid"] = "of the one before"
    run = await Run(jobs).begin()
    await settle(60)
    assert run.job is None
    jobs.remove(left)
    await settle()
    assert run.job is not None
    assert run.count("delete") == 0


@in_virtual_time
async def test_an_earlier_job_with_a_foreign_finalizer_counts_as_deleted_once_its_pods_have_ended() -> None:
    jobs, left, pod = left_running()
    jobs.deletion_takes = None
    run = await Run(jobs).begin()
    await settle(60)
    assert run.job is None
    pod.fail(143)
    await settle(STUCK_AFTER + CHECK_AFTER)
    assert run.job is not None
    assert left in jobs.jobs


@in_virtual_time
async def test_ended_jobs_and_foreign_ones_with_our_labels_are_not_waited_for() -> None:
    jobs, _, failed = left_running()
    failed.fail(1)
    jobs.end_job(earlier(jobs, number=5), "Failed")
    foreign = earlier(jobs, number=6)
    jobs.jobs[foreign]["metadata"]["ownerReferences"] = []
    pod = jobs.start_pod(foreign)
    pod.run("fetch")
    jobs.pods[foreign[0], pod.name]["metadata"]["ownerReferences"] = []
    run = await Run(jobs).begin()
    assert run.job is not None
    assert run.count("delete") == 0


# creation


@in_virtual_time
async def test_a_foreign_job_of_the_same_name_breaks_the_attempt_and_stays() -> None:
    jobs, pod = existing()
    jobs.jobs[KEY]["metadata"]["ownerReferences"][0]["uid"] = "somebody-else"
    pod.succeed(CODE_COMMIT="0" * 40)
    for run in (await Run(jobs).begin(), await Run(jobs).adopt()):
        await run.expect_failure(Reason.ENGINE_ERROR, "does not belong to this ProjectSetup")
        assert run.count("delete") == 0


@in_virtual_time
async def test_the_wait_for_earlier_attempts_has_a_limit_and_is_part_of_the_attempts_time() -> None:
    jobs, left, _ = left_running()
    jobs.deletion_takes = None
    run = await Run(jobs).begin()
    began = now()
    await run.expect_failure(Reason.ENGINE_ERROR, f"earlier attempts did not end within 5m: {left[1]}")
    assert now() - began < 310
    assert run.job is None
    jobs, _, _ = left_running()
    jobs.deletion_takes = 200.0
    run, began = await Run(jobs).begin(), now()
    await settle(210)
    spent = MANIFEST["spec"]["activeDeadlineSeconds"] - run.existing_job["spec"]["activeDeadlineSeconds"]
    assert 200 <= spent <= 205
    await run.expect_failure(Reason.ENGINE_ERROR, "did not start within")
    assert now() - began < 320


@in_virtual_time
async def test_a_create_whose_answer_was_lost_is_found() -> None:
    jobs = FakeJobs()
    jobs.lost_answers = 1
    run = await Run(jobs).begin()
    await settle(1)
    assert run.count("create") == 2
    run.pod().succeed()
    assert await run.task == SetupSucceeded()
    assert len(jobs.jobs) == 1


@in_virtual_time
async def test_the_creation_waits_for_the_api_server() -> None:
    jobs = FakeJobs()
    jobs.down = True
    run = await Run(jobs).begin()
    await settle(3600)
    assert not run.task.done()
    assert run.count("select") > 100
    jobs.down = False
    await settle(20)
    assert run.job is not None


@in_virtual_time
async def test_an_unanswered_create_may_arrive_although_the_next_is_refused() -> None:
    jobs = FakeJobs()
    jobs.delayed = 1
    run = await Run(jobs).begin()
    jobs.refusal = "create Job team/x: 403 exceeded quota"
    await settle(2)
    jobs.deliver()
    await settle(60)
    run.pod().succeed()
    assert await run.task == SetupSucceeded()
    assert run.count("create") == 2


# cancel


async def stopped(run: Run) -> None:
    """Wait until the attempt was stopped and nothing of it can run any more."""
    with pytest.raises(SetupStopped):
        await run.task
    run.jobs.deliver()
    assert all(is_tombstone(job) for job in run.jobs.jobs.values())
    assert run.jobs.pods == {}


@in_virtual_time
@pytest.mark.parametrize("adopted", [False, True])
async def test_a_cancelled_job_is_deleted_once_and_gone_before_the_attempt_ends(adopted: bool) -> None:
    run = await Run(existing("fetch")[0]).adopt() if adopted else (await running("fetch"))[0]
    run.jobs.deletion_takes = 9.0
    for _ in range(4):
        await run.cancel()
        assert run.existing_job["metadata"]["deletionTimestamp"]
        await settle(2)
    assert not run.task.done()
    await stopped(run)
    assert run.job is None
    assert run.count("delete") == 1


@in_virtual_time
@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_pod_that_ends_while_it_is_deleted(succeeds: bool) -> None:
    run, pod = await running("push")
    run.jobs.deletion_takes = None
    await run.cancel()
    assert run.count("delete") == 1
    if succeeds:
        pod.succeed(CODE_COMMIT=COMMIT)
    else:
        pod.fail(143)
        await settle(5)
        assert not run.task.done()
    run.jobs.remove(KEY)
    if succeeds:
        assert await run.task == SetupSucceeded(COMMIT)
    else:
        await stopped(run)


@in_virtual_time
async def test_a_pod_that_does_not_go_away_is_reported_to_linger_and_waited_for() -> None:
    run, pod = await running("push")
    run.jobs.deletion_takes = None
    await run.cancel()
    await settle(50)
    assert not any(progress.lingers for progress in run.progress)
    await settle(20)
    assert run.progress[-1].lingers
    assert run.progress[-1].waits_for == f"stopped, but still waiting for {pod.name} to end"
    await settle(3600)
    assert not run.task.done()
    run.jobs.remove(KEY)
    await stopped(run)


@in_virtual_time
async def test_a_job_with_a_foreign_finalizer_counts_as_deleted_once_its_pods_have_ended() -> None:
    run, pod = await running("push")
    run.jobs.deletion_takes = None
    await run.cancel()
    await settle(60)
    assert not run.task.done()
    pod.fail(143)
    with pytest.raises(SetupStopped):
        await run.task
    assert run.job is not None


@in_virtual_time
async def test_a_job_that_is_being_created_is_created_and_then_deleted() -> None:
    run = Run()
    run.jobs.held = asyncio.Event()
    await run.begin()
    await run.cancel()
    assert not run.task.done()
    run.jobs.held.set()
    await stopped(run)
    assert (run.count("create"), run.count("delete")) == (1, 1)


@in_virtual_time
@pytest.mark.parametrize(("delayed", "lost"), [(1, 0), (0, 1)])
async def test_an_unanswered_create_is_prevented_or_its_job_deleted(delayed: int, lost: int) -> None:
    run = Run()
    run.jobs.delayed, run.jobs.lost_answers = delayed, lost
    await run.begin()
    await run.cancel()
    await stopped(run)
    assert (run.job is not None, run.count(f"delete {JOB}")) == (bool(delayed), lost)


@in_virtual_time
async def test_an_attempt_that_waits_for_an_earlier_one_leaves_nothing() -> None:
    jobs, _, _ = left_running()
    run = await Run(jobs).begin()
    await run.cancel()
    assert not run.task.done()
    await stopped(run)
    assert jobs.jobs == {}
    assert run.count("create") == 0


@in_virtual_time
async def test_a_refused_job_breaks_the_attempt_with_the_api_servers_reason_and_a_quota_defers_it() -> None:
    jobs = FakeJobs()
    jobs.refusal = "create Job team/x: 403 not allowed"
    await (await Run(jobs).begin()).expect_failure(Reason.ENGINE_ERROR, "cannot create Job team/x: 403 not allowed")
    jobs.refusal = "create Job team/x: 403 exceeded quota: few"
    run = await Run(jobs).begin()
    with pytest.raises(NotStarted, match="cannot create Job team/x: 403 exceeded quota: few"):
        await run.task


@in_virtual_time
@pytest.mark.parametrize("succeeded", [True, False])
async def test_a_job_that_has_ended_by_then_stays_and_success_wins(succeeded: bool) -> None:
    run, pod = await running("push")
    run.jobs.stale = True
    if succeeded:
        pod.succeed(CODE_COMMIT=COMMIT)
        await run.cancel()
        assert await run.task == SetupSucceeded(COMMIT)
    else:
        pod.fail(1)
        await run.cancel()
        with pytest.raises(SetupStopped):
            await run.task
    assert run.job is not None
    assert run.count("delete") == 0


@in_virtual_time
@pytest.mark.parametrize("trouble", ["down", "refusal"])
async def test_a_cancel_waits_for_the_api_server(trouble: str) -> None:
    run, _ = await running("fetch")
    before = getattr(run.jobs, trouble)
    setattr(run.jobs, trouble, "delete Job: 403 forbidden")
    await run.cancel()
    await settle(3600)
    assert not run.task.done()
    setattr(run.jobs, trouble, before)
    await stopped(run)
    assert run.job is None


# garbage collection


@in_virtual_time
async def test_garbage_is_every_job_that_may_run_and_that_nobody_reports() -> None:
    jobs, orphaned, _ = left_running()
    jobs.start_pod(earlier(jobs, number=5)).succeed()
    jobs.end_job(earlier(jobs, number=6), "Failed")
    evicted = earlier(jobs, number=7)
    pod = jobs.start_pod(evicted)
    pod.run("fetch")
    pod.be_evicted()
    run = Run(jobs)

    def find_run(_namespace: str, _name: str) -> CurrentRun:
        if KEY not in jobs.jobs:  # begun after the Jobs were listed
            jobs.make(MANIFEST)
        return CurrentRun(ATTEMPT.uid, JOB, is_over=False)

    for _ in range(2):
        await run.engine.collect_garbage(find_run)
        assert {call for call in jobs.calls if call.startswith("delete")} == {
            f"delete {orphaned[1]}",
            f"delete {evicted[1]}",
        }


@in_virtual_time
async def test_a_tombstone_stays_while_it_is_young_or_its_setup_has_not_ended() -> None:
    run = await Run().adopt()
    with suppress(InfrastructureError):
        await run.task
    await run.collect_garbage()
    await settle(600)
    await run.collect_garbage(finished=False)
    assert is_tombstone(run.existing_job)
    assert run.count("delete") == 0
    await run.collect_garbage()
    assert run.count("delete") == 1


@in_virtual_time
@pytest.mark.parametrize(
    "owners",
    [
        [],
        [{"apiVersion": API_VERSION, "kind": KIND, "name": str(PROJECT_ID), "uid": "another", "controller": True}],
        [{"apiVersion": API_VERSION, "kind": KIND, "name": str(PROJECT_ID), "uid": ATTEMPT.uid}],
        [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ATTEMPT.uid, "controller": True}],
    ],
    ids=["nobody", "another ProjectSetup", "an owner that is not the controller", "another kind"],
)
async def test_jobs_that_no_existing_projectsetup_controls_are_no_garbage_of_ours(owners: list[Body]) -> None:
    jobs = FakeJobs()
    jobs.jobs[earlier(jobs)]["metadata"]["ownerReferences"] = owners
    run = Run(jobs)
    jobs.update(Kind.JOBS, next(iter(jobs.jobs.values())))
    await run.collect_garbage()
    assert run.count("delete") == 0


@in_virtual_time
async def test_garbage_collection_without_a_complete_cache_or_an_answer_is_an_error() -> None:
    jobs = FakeJobs()
    earlier(jobs)
    jobs.complete = False
    with pytest.raises(InfrastructureError, match="not all Jobs are known yet"):
        await Run(jobs).collect_garbage()
    jobs.complete, jobs.down = True, True
    with pytest.raises(InfrastructureError, match="connection refused"):
        await Run(jobs).collect_garbage()
