"""A Job while it is monitored: its outcome, its progress, and what a stale cache or a silent API server may not do."""

from __future__ import annotations

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.plan import PLAN
from projectsetup.kube.job_cache import Kind
from projectsetup.setup.types import NotStarted, SetupFailed, SetupSucceeded
from tests.support.job_run import ATTEMPT, BUILD, JOB, KEY, MANIFEST, PUSH, Run, existing, running, settle
from tests.support.virtual_time import in_virtual_time, now

COMMIT = "c" * 40
NO_ROOM = 'pods "x" is forbidden: exceeded quota: few, used: pods=1'


@in_virtual_time
async def test_a_success_costs_two_calls_besides_the_log() -> None:
    run, pod = await running("fetch")
    await settle(30)
    assert not run.task.done()
    pod.run("push")
    await settle(10)
    pod.succeed(CODE_COMMIT=COMMIT)
    assert await run.task == SetupSucceeded(COMMIT, None)
    assert [call for call in run.jobs.calls if not call.startswith("follow")] == ["select", f"create {JOB}"]
    assert run.job is not None


@in_virtual_time
async def test_a_failed_step_is_reported_at_once_and_its_job_stays() -> None:
    for code in (3, 75):
        run = await Run().begin()
        run.pod("push").fail(code, "no way\n")
        if code == 75:
            await run.expect_failure(Reason.STEP_TRANSIENT)
        else:
            outcome = await run.task
            assert isinstance(outcome, SetupFailed)
            assert (outcome.step, outcome.exit_code) == ("push", 3)
            assert "no way" in outcome.message
        assert run.progress == [PUSH]
        assert run.count("delete") == 0


@in_virtual_time
async def test_a_pod_that_the_job_does_not_control_proves_nothing() -> None:
    run = await Run().begin()
    forged = run.pod(name="forged")
    run.jobs.pods[KEY[0], forged.name]["metadata"]["ownerReferences"] = []
    forged.succeed(CODE_COMMIT="0" * 40)
    await settle(10)
    assert not run.task.done()
    run.pod().succeed(CODE_COMMIT=COMMIT)
    assert await run.task == SetupSucceeded(COMMIT)


@in_virtual_time
async def test_a_later_job_of_the_same_name_is_not_ours() -> None:
    run = await Run().begin()
    run.jobs.remove(KEY)
    run.jobs.make(MANIFEST)
    run.jobs.start_pod(KEY).succeed(CODE_COMMIT="0" * 40)
    await run.expect_failure(Reason.INTERRUPTED)
    assert run.count("delete") == 0


@in_virtual_time
async def test_the_deadline_holds_whatever_the_job_says() -> None:
    run, _ = await running("push")
    run.existing_job["spec"]["activeDeadlineSeconds"] = 10**9
    await run.expect_failure(Reason.STEP_TIMED_OUT)
    assert ATTEMPT.timeout < now() - 1000 < ATTEMPT.timeout + 60
    assert run.job is None


@in_virtual_time
async def test_a_job_that_somebody_suspends_ends_at_its_deadline() -> None:
    run = await Run().begin()
    run.existing_job["spec"]["suspend"] = True
    run.jobs.update(Kind.JOBS, run.existing_job)
    await run.expect_failure(Reason.ENGINE_ERROR, "no step began within 24h: the Job is suspended")
    assert now() - 1000 < ATTEMPT.timeout + 60


@in_virtual_time
async def test_a_job_that_failed_while_its_pod_runs_is_deleted_with_it() -> None:
    run, _ = await running("push")
    run.jobs.end_job(KEY, "Failed")
    await run.expect_failure(Reason.ENGINE_ERROR)
    assert run.job is None


@in_virtual_time
async def test_steps_that_last_are_reported_except_the_first() -> None:
    run, pod = await running("fetch")
    pod.print("[projectsetup] step fetch (1/3)\nfetching")
    await settle(5)
    assert run.progress == []
    pod.print(" done\n[projectsetup] step bui")
    pod.print("ld (2/3)\n")
    await settle(5)
    assert run.progress == [BUILD]
    pod.run("push")
    await settle(5)
    assert run.progress == [BUILD, PUSH]
    pod.succeed()
    await run.task
    await settle(5)
    assert run.progress == [BUILD, PUSH]


@in_virtual_time
@pytest.mark.parametrize(
    "pieces",
    [
        [
            "[projectsetup] step build (2/3)\n",
            "[projectsetup] step fetch (1/3)\n[projectsetup] step push (3/3)\n[projectsetup] step none (9/9)\n",
        ],
        [*["x" * 65_536] * 100, "\n[projectsetup] step build (2/3)\n"],
    ],
    ids=["forged steps", "a log without end"],
)
async def test_what_a_step_prints_moves_the_progress_neither_back_nor_elsewhere(pieces: list[str]) -> None:
    run, pod = await running("fetch")
    for piece in pieces:
        pod.print(piece)
    await settle(20)
    assert run.progress == [BUILD]


@in_virtual_time
async def test_a_log_is_followed_again_from_where_it_was_cut() -> None:
    run, pod = await running("fetch")
    pod.print("fetching\n")
    await settle(2)
    pod.log.cut()
    await settle(1)
    pod.print("[projectsetup] step build (2/3)\n")
    await settle(5)
    assert run.progress == [BUILD]
    assert [call for call in run.jobs.calls if call.startswith("follow")] == [
        "follow fetch",
        "follow fetch since 00:16:45",
    ]


@in_virtual_time
@pytest.mark.parametrize(("rejected", "why"), [(False, "no such image"), (True, "violates PodSecurity")])
async def test_a_pod_that_does_not_start_says_why_and_breaks_the_attempt_in_time(rejected: bool, why: str) -> None:
    run = await Run().begin()
    if rejected:
        run.jobs.warnings[run.existing_job["metadata"]["uid"]] = ['pods "x" is forbidden: violates PodSecurity']
    else:
        run.pod().lack_image()
    await settle(20)
    assert why in (run.progress[-1].waits_for or "")
    await settle(279)
    assert not run.task.done()
    await run.expect_failure(Reason.ENGINE_ERROR, why)
    assert (run.jobs.jobs, run.jobs.pods) == ({}, {})
    assert now() < 1310


@in_virtual_time
async def test_quick_steps_are_not_reported_and_their_logs_not_followed() -> None:
    run = await Run().begin()
    pod = run.pod("fetch")
    await settle(0.3)
    pod.print("[projectsetup] step build (2/3)\n")
    await settle(0.3)
    pod.run("push")
    await settle(0.3)
    pod.succeed()
    await run.task
    await settle(5)
    assert run.progress == []
    assert run.count("follow") + run.count("read") == 0


@in_virtual_time
async def test_an_old_warning_about_a_quota_does_not_matter_once_there_is_a_pod() -> None:
    without_pod, run = await Run().begin(), await Run().begin()
    for each in (without_pod, run):
        each.jobs.warnings[each.existing_job["metadata"]["uid"]] = [NO_ROOM]
    pod = run.pod()
    with pytest.raises(NotStarted, match="exceeded quota: few"):
        await without_pod.task
    assert without_pod.jobs.jobs == {}
    await settle(60)
    assert not run.task.done()
    pod.succeed()
    assert await run.task == SetupSucceeded()


@in_virtual_time
async def test_a_deleted_job_interrupts_the_attempt_once_its_pod_is_gone() -> None:
    run, _ = await running("fetch")
    run.jobs.deletion_takes = None
    await run.jobs.delete_job(*KEY, run.existing_job["metadata"]["uid"])
    pods = dict(run.jobs.pods)
    run.jobs.pods.clear()
    run.jobs.remove(KEY)
    run.jobs.pods.update(pods)
    await settle(60)
    assert not run.task.done()
    run.jobs.remove(KEY)
    await run.expect_failure(Reason.INTERRUPTED)


@in_virtual_time
async def test_success_counts_although_everything_is_deleted_in_the_same_moment() -> None:
    run, pod = await running("push")
    pod.succeed(CODE_COMMIT=COMMIT)
    run.jobs.remove(KEY)
    assert await run.task == SetupSucceeded(COMMIT)


@in_virtual_time
@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(("stale", "commit"), [(False, COMMIT), (True, None)])
async def test_a_job_that_succeeded_is_a_success_although_its_pod_is_gone(
    cancelled: bool, stale: bool, commit: str | None
) -> None:
    run, pod = await running("push")
    run.jobs.stale = stale
    pod.succeed(CODE_COMMIT=COMMIT)
    run.jobs.remove_pods(KEY)
    run.jobs.stale = stale and cancelled
    run.jobs.end_job(KEY, "Complete")
    if cancelled:
        run.task.cancel()
    assert await run.task == SetupSucceeded(commit)
    assert run.count("delete") == 0


@in_virtual_time
@pytest.mark.parametrize("from_the_start", [True, False])
async def test_a_stale_cache_delays_the_outcome_only(from_the_start: bool) -> None:
    run = Run()
    run.jobs.stale = from_the_start
    await run.begin()
    pod = run.pod("push")
    await settle(200)
    assert not run.task.done()
    run.jobs.stale = True
    pod.succeed()
    assert await run.task == SetupSucceeded()


@in_virtual_time
@pytest.mark.parametrize("down", [False, True])
async def test_a_deletion_that_the_api_server_does_not_confirm_is_no_end(down: bool) -> None:
    run, pod = await running("push")
    run.jobs.down = down
    run.jobs.drop_from_cache(Kind.JOBS, run.existing_job)
    await settle(3600)
    assert not run.task.done()
    assert run.count("delete") == 0
    pod.succeed()
    run.jobs.down = False
    assert await run.task == SetupSucceeded()


@in_virtual_time
async def test_an_adopted_job_with_an_unreadable_plan_is_deleted() -> None:
    jobs, _ = existing("fetch")
    jobs.jobs[KEY]["metadata"]["annotations"][PLAN] = "{}"
    run = await Run(jobs).adopt()
    await run.expect_failure(Reason.ENGINE_ERROR, "is unreadable")
    assert jobs.jobs == {}


@in_virtual_time
@pytest.mark.parametrize("code", [0, 75])
async def test_the_attempt_ends_with_its_last_stage_although_a_sidecar_runs(code: int) -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.add_sidecar()
    pod.run("push")
    await settle(600)
    assert run.count("delete") == 0
    if code:
        pod.fail(code, "no way\n")
        await run.expect_failure(Reason.STEP_TRANSIENT)
    else:
        pod.succeed(CODE_COMMIT=COMMIT)
        assert await run.task == SetupSucceeded(COMMIT)
    assert run.count(f"delete {JOB}") == 1
    assert (run.jobs.jobs, run.jobs.pods) == ({}, {})
