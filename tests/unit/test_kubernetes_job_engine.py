"""The Job engine from the start of an attempt to its end."""

from __future__ import annotations

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.lifecycle import CHECK_AFTER, STUCK_AFTER
from projectsetup.engines.kubernetes_job.manifest import is_tombstone
from projectsetup.engines.kubernetes_job.plan import PLAN
from projectsetup.kube.job_store import Kind
from projectsetup.setup.types import InfrastructureError, NotStarted, SetupFailed, SetupSucceeded
from tests.support.fake_jobs import FakeJobs
from tests.support.job_run import ATTEMPT, BUILD, FETCH, JOB, KEY, MANIFEST, PUSH, Run, earlier, settle
from tests.support.virtual_time import in_virtual_time, now


@in_virtual_time
async def test_a_run_makes_its_job_and_ends_with_it() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("fetch")
    await settle(10)
    assert not run.task.done()
    pod.run("push")
    await settle(10)
    pod.succeed(CODE_COMMIT="c" * 40)
    assert await run.task == SetupSucceeded("c" * 40, None)
    assert run.job is not None
    assert (run.count("create"), run.count("delete")) == (1, 0)


@in_virtual_time
async def test_it_costs_three_calls_besides_the_log_when_all_goes_well() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("fetch")
    await settle(30)
    pod.succeed()
    await run.task
    assert [call for call in run.jobs.calls if not call.startswith("log")] == ["select", f"create {JOB}"]


@in_virtual_time
async def test_a_step_that_fails_is_a_business_failure_and_its_job_stays() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    pod.fail(3, "no way\n")
    outcome = await run.task
    assert isinstance(outcome, SetupFailed)
    assert (outcome.step, outcome.exit_code) == ("push", 3)
    assert "no way" in outcome.message
    assert run.count("delete") == 0


@in_virtual_time
async def test_where_a_run_failed_is_told_however_quick_it_was() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    pod.fail(3)
    assert isinstance(await run.task, SetupFailed)
    assert run.told == [PUSH]


@in_virtual_time
async def test_a_step_that_may_succeed_another_time_breaks_the_attempt_and_its_job_stays() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    pod.fail(75)
    assert await reason(run) is Reason.STEP_TRANSIENT
    assert run.count("delete") == 0


@in_virtual_time
async def test_what_earlier_attempts_left_is_gone_before_the_job_is_made() -> None:
    jobs = FakeJobs()
    left = earlier(jobs)
    jobs.start_pod(left).run("fetch")
    run = await Run(jobs).begin()
    assert run.count(f"delete {left[1]}") == 1
    assert run.job is None
    await settle(jobs.clearing_takes or 0)
    assert left not in jobs.jobs
    assert run.job is not None


@in_virtual_time
async def test_a_pod_without_its_job_is_waited_for() -> None:
    jobs = FakeJobs()
    left = earlier(jobs)
    pod = jobs.start_pod(left)
    pod.run("fetch")
    jobs.jobs.pop(left)
    run = await Run(jobs).begin()
    await settle(290)
    assert run.job is None
    assert run.count("delete") == 0
    pod.fail(1)
    await settle()
    assert run.job is not None


@in_virtual_time
async def test_what_is_left_of_earlier_attempts_is_not_waited_for_without_limit() -> None:
    jobs = FakeJobs()
    left = earlier(jobs)
    jobs.start_pod(left).run("fetch")
    jobs.clearing_takes = None
    run = await Run(jobs).begin()
    with pytest.raises(InfrastructureError, match=f"earlier attempts did not end within 5m: {left[1]}") as caught:
        await run.task
    assert caught.value.reason is Reason.ENGINE_ERROR
    assert now() < 1310
    assert run.job is None


@in_virtual_time
async def test_the_time_that_earlier_attempts_take_is_part_of_that_of_the_attempt() -> None:
    jobs = FakeJobs()
    jobs.start_pod(earlier(jobs)).run("fetch")
    jobs.clearing_takes = 200.0
    run = await Run(jobs).begin()
    await settle(210)
    assert run.job is not None
    spent = MANIFEST["spec"]["activeDeadlineSeconds"] - run.job["spec"]["activeDeadlineSeconds"]
    assert 200 <= spent <= 205
    with pytest.raises(InfrastructureError, match="did not start within"):
        await run.task
    assert now() < 1320


@in_virtual_time
async def test_a_job_of_a_projectsetup_of_the_same_name_that_was_deleted_is_waited_for_and_left_alone() -> None:
    jobs = FakeJobs()
    left = earlier(jobs)
    jobs.jobs[left]["metadata"]["ownerReferences"][0]["uid"] = "of the one before"
    jobs.start_pod(left).run("fetch")
    run = await Run(jobs).begin()
    await settle(60)
    assert run.job is None
    jobs.clear(left)
    await settle()
    assert run.job is not None
    assert run.count("delete") == 0


@in_virtual_time
async def test_labels_alone_make_nothing_an_earlier_attempt() -> None:
    jobs = FakeJobs()
    left = earlier(jobs)
    jobs.jobs[left]["metadata"]["ownerReferences"] = []
    pod = jobs.start_pod(left)
    pod.run("fetch")
    jobs.pods[left[0], pod.name]["metadata"]["ownerReferences"] = []
    run = await Run(jobs).begin()
    assert run.job is not None
    assert run.count("delete") == 0


@in_virtual_time
async def test_an_earlier_job_that_is_kept_by_a_foreign_finalizer_counts_as_gone_once_its_pods_have_ended() -> None:
    jobs = FakeJobs()
    left = earlier(jobs)
    pod = jobs.start_pod(left)
    pod.run("fetch")
    jobs.clearing_takes = None
    run = await Run(jobs).begin()
    await settle(60)
    assert run.job is None
    pod.fail(143)
    await settle(STUCK_AFTER + CHECK_AFTER)
    assert run.job is not None
    assert left in jobs.jobs


@in_virtual_time
async def test_a_job_of_that_name_that_belongs_to_somebody_else_breaks_the_attempt_and_is_left_alone() -> None:
    jobs = FakeJobs()
    job = jobs.make(MANIFEST)
    job["metadata"]["ownerReferences"][0]["uid"] = "somebody-else"
    jobs.start_pod(KEY).succeed(CODE_COMMIT="0" * 40)
    for run in (await Run(jobs).begin(), await Run(jobs).adopt()):
        with pytest.raises(InfrastructureError, match="does not belong to this ProjectSetup") as caught:
            await run.task
        assert caught.value.reason is Reason.ENGINE_ERROR
        assert run.count("delete") == 0


@in_virtual_time
async def test_a_pod_that_says_it_is_the_jobs_is_not_unless_the_job_controls_it() -> None:
    run = await Run().begin()
    forged = run.pod(name="forged")
    run.jobs.pods[KEY[0], forged.name]["metadata"]["ownerReferences"] = []
    forged.succeed(CODE_COMMIT="0" * 40)
    await settle(10)
    assert not run.task.done()
    run.pod().succeed(CODE_COMMIT="c" * 40)
    assert await run.task == SetupSucceeded("c" * 40)


@in_virtual_time
async def test_a_job_of_the_same_name_that_is_made_later_is_not_ours() -> None:
    run = await Run().begin()
    run.jobs.clear(KEY)
    run.jobs.make(MANIFEST)
    run.jobs.start_pod(KEY).succeed(CODE_COMMIT="0" * 40)
    assert await reason(run) is Reason.INTERRUPTED
    assert run.count("delete") == 0


@in_virtual_time
async def test_what_does_not_end_in_its_time_is_ended_whatever_its_job_says() -> None:
    run = await Run().begin()
    run.pod().run("push")
    assert run.job is not None
    run.job["spec"]["activeDeadlineSeconds"] = 10**9
    assert await reason(run) is Reason.STEP_TIMED_OUT
    assert ATTEMPT.timeout < now() - 1000 < ATTEMPT.timeout + 60
    assert run.job is None


@in_virtual_time
async def test_a_job_that_somebody_suspends_ends_with_its_time() -> None:
    run = await Run().begin()
    assert run.job is not None
    run.job["spec"]["suspend"] = True
    run.jobs.tell(Kind.JOBS, run.job)
    with pytest.raises(InfrastructureError, match="no step began within 24h: the Job is suspended"):
        await run.task
    assert now() - 1000 < ATTEMPT.timeout + 60


@in_virtual_time
async def test_a_job_that_only_says_that_it_has_ended_is_deleted_with_its_pod() -> None:
    run = await Run().begin()
    run.pod().run("push")
    run.jobs.end_job(KEY, "Failed")
    assert await reason(run) is Reason.ENGINE_ERROR
    assert run.job is None


@in_virtual_time
async def test_what_has_ended_of_earlier_attempts_and_of_other_projects_is_left_alone() -> None:
    jobs = FakeJobs()
    ended = earlier(jobs)
    failed = jobs.start_pod(ended)
    failed.run("fetch")
    failed.fail(1)
    over = earlier(jobs, number=5)
    jobs.end_job(over, "Failed")
    run = await Run(jobs).begin()
    assert run.job is not None
    assert run.count("delete") == 0


@in_virtual_time
async def test_a_create_of_which_the_answer_was_lost_is_found() -> None:
    jobs = FakeJobs()
    jobs.lost_answers = 1
    run = await Run(jobs).begin()
    await settle(1)
    assert run.count("create") == 2
    run.pod().succeed()
    assert await run.task == SetupSucceeded()
    assert len(jobs.jobs) == 1


@in_virtual_time
async def test_while_the_api_server_is_away_a_run_waits_to_be_made() -> None:
    jobs = FakeJobs()
    jobs.away = True
    run = await Run(jobs).begin()
    await settle(3600)
    assert not run.task.done()
    assert run.count("select") > 100
    jobs.away = False
    await settle(20)
    assert run.job is not None


@in_virtual_time
async def test_a_job_that_is_refused_breaks_the_attempt_with_what_the_api_server_says() -> None:
    jobs = FakeJobs()
    jobs.refusal = "create Job team/x: 403 not allowed"
    run = await Run(jobs).begin()
    with pytest.raises(InfrastructureError, match="cannot create Job team/x: 403 not allowed") as caught:
        await run.task
    assert caught.value.reason is Reason.ENGINE_ERROR
    assert not isinstance(caught.value, NotStarted)


@in_virtual_time
async def test_a_job_for_which_there_is_no_room_is_not_started() -> None:
    jobs = FakeJobs()
    jobs.refusal = "create Job team/x: 403 exceeded quota: few"
    run = await Run(jobs).begin()
    with pytest.raises(NotStarted, match="cannot create Job team/x: 403 exceeded quota: few"):
        await run.task


@in_virtual_time
async def test_a_create_without_an_answer_may_arrive_although_the_next_is_refused() -> None:
    jobs = FakeJobs()
    jobs.late = 1
    run = await Run(jobs).begin()
    jobs.refusal = "create Job team/x: 403 exceeded quota"
    await settle(2)
    jobs.deliver()
    await settle(60)
    run.pod().succeed()
    assert await run.task == SetupSucceeded()
    assert run.count("create") == 2


@in_virtual_time
async def test_steps_that_last_are_told_and_the_first_is_not() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("fetch")
    pod.print("[projectsetup] step fetch (1/3)\nfetching")
    await settle(5)
    assert run.told == []
    pod.print(" done\n[projectsetup] step bui")
    pod.print("ld (2/3)\n")
    await settle(5)
    assert run.told == [BUILD]
    pod.run("push")
    await settle(5)
    assert run.told == [BUILD, PUSH]
    pod.succeed()
    await run.task
    await settle(5)
    assert run.told == [BUILD, PUSH]


@in_virtual_time
async def test_a_quick_run_tells_nothing() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("fetch")
    await settle(0.3)
    pod.print("[projectsetup] step build (2/3)\n")
    await settle(0.3)
    pod.run("push")
    await settle(0.3)
    pod.succeed()
    await run.task
    await settle(5)
    assert run.told == []


@in_virtual_time
async def test_what_a_step_prints_moves_nothing_backwards_or_elsewhere() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("fetch")
    pod.print("[projectsetup] step build (2/3)\n")
    pod.print("[projectsetup] step fetch (1/3)\n[projectsetup] step push (3/3)\n[projectsetup] step none (9/9)\n")
    await settle(5)
    assert run.told == [BUILD]


@in_virtual_time
async def test_a_log_without_end_or_line_breaks_is_of_no_harm() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("fetch")
    for _ in range(100):
        pod.print("x" * 65_536)
    pod.print("\n[projectsetup] step build (2/3)\n")
    await settle(20)
    assert run.told == [BUILD]


@in_virtual_time
async def test_a_log_that_is_cut_off_is_followed_again_from_there() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("fetch")
    pod.print("fetching\n")
    await settle(2)
    pod.cut_log()
    await settle(1)
    pod.print("[projectsetup] step build (2/3)\n")
    await settle(5)
    assert run.told == [BUILD]
    assert [call for call in run.jobs.calls if call.startswith("log")] == [
        "log of fetch in team",
        "log of fetch in team again",
    ]


@in_virtual_time
async def test_only_a_log_that_can_tell_something_is_followed() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    await settle(5)
    assert run.count("log") == 0
    assert run.told == [PUSH]


@in_virtual_time
async def test_the_log_of_a_stage_that_is_soon_over_is_not_asked_for() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("fetch")
    await settle(0.9)
    pod.run("push")
    await settle(5)
    pod.succeed()
    await run.task
    assert run.count("log") == 0


@in_virtual_time
async def test_a_pod_that_was_taken_away_is_no_end() -> None:
    run = await Run().begin()
    first = run.pod(name="first")
    first.run("push")
    await settle(5)
    first.be_evicted()
    await settle(60)
    second = run.pod(name="second")
    second.run("fetch")
    await settle(5)
    assert [update.step for update in run.told if update.waits_for is None] == ["push", "fetch"]
    assert any("the cluster took the pod away" in (update.waits_for or "") for update in run.told)
    second.succeed(CODE_COMMIT="c" * 40)
    assert await run.task == SetupSucceeded("c" * 40)


@in_virtual_time
async def test_a_pod_that_does_not_start_in_time_breaks_the_attempt_and_is_gone_then() -> None:
    run = await Run().begin()
    run.pod().wait_for_image()
    await settle(299)
    assert not run.task.done()
    with pytest.raises(InfrastructureError, match="no such image") as caught:
        await run.task
    assert caught.value.reason is Reason.ENGINE_ERROR
    assert run.jobs.jobs == {}
    assert run.jobs.pods == {}
    assert now() < 1310


@in_virtual_time
async def test_why_there_is_no_pod_is_told() -> None:
    run = await Run().begin()
    assert run.job is not None
    run.jobs.warnings[run.job["metadata"]["uid"]] = ['pods "x" is forbidden: violates PodSecurity']
    with pytest.raises(InfrastructureError, match="violates PodSecurity"):
        await run.task
    assert run.jobs.jobs == {}


@in_virtual_time
async def test_a_job_that_somebody_deletes_interrupts_the_attempt_once_its_pod_is_gone() -> None:
    run = await Run().begin()
    run.pod().run("fetch")
    assert run.job is not None
    run.jobs.clearing_takes = None
    await run.jobs.delete_job(*KEY, run.job["metadata"]["uid"])
    pods = dict(run.jobs.pods)
    run.jobs.pods.clear()
    run.jobs.clear(KEY)
    run.jobs.pods.update(pods)
    await settle(60)
    assert not run.task.done()
    run.jobs.clear(KEY)
    assert await reason(run) is Reason.INTERRUPTED


@in_virtual_time
async def test_success_counts_although_all_is_deleted_in_the_same_moment() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    await settle(5)
    pod.succeed(CODE_COMMIT="c" * 40)
    run.jobs.clear(KEY)
    assert await run.task == SetupSucceeded("c" * 40)


@in_virtual_time
@pytest.mark.parametrize(("deaf", "commit"), [(False, "c" * 40), (True, None)])
async def test_a_job_that_succeeded_is_a_success_although_its_pod_is_gone(deaf: bool, commit: str | None) -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    await settle(5)
    run.jobs.deaf = deaf
    pod.succeed(CODE_COMMIT="c" * 40)
    run.jobs.clear_pods(KEY)
    run.jobs.deaf = False
    run.jobs.end_job(KEY, "Complete")
    assert await run.task == SetupSucceeded(commit)
    assert run.count("delete") == 0


@in_virtual_time
async def test_an_end_that_is_not_told_is_found() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    await settle(5)
    run.jobs.deaf = True
    pod.succeed()
    assert await run.task == SetupSucceeded()


@in_virtual_time
async def test_a_board_that_tells_nothing_at_all_delays_only() -> None:
    run = Run()
    run.jobs.deaf = True
    await run.begin()
    pod = run.pod()
    pod.run("fetch")
    await settle(200)
    assert not run.task.done()
    pod.succeed()
    assert await run.task == SetupSucceeded()


@in_virtual_time
async def test_what_is_told_to_be_gone_is_asked_for() -> None:
    run = await Run().begin()
    run.pod().run("push")
    await settle(5)
    assert run.job is not None
    run.jobs.forget(Kind.JOBS, run.job)
    await settle(600)
    assert not run.task.done()
    assert run.count("delete") == 0


@in_virtual_time
async def test_while_the_api_server_is_away_nothing_is_taken_for_an_end() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.run("push")
    await settle(5)
    assert run.job is not None
    run.jobs.away = True
    run.jobs.forget(Kind.JOBS, run.job)
    await settle(3600)
    assert not run.task.done()
    pod.succeed()
    run.jobs.away = False
    assert await run.task == SetupSucceeded()


@in_virtual_time
async def test_a_job_of_which_the_plan_cannot_be_read_is_ended() -> None:
    jobs = FakeJobs()
    job = jobs.make(MANIFEST)
    jobs.start_pod(KEY).run("fetch")
    job["metadata"]["annotations"][PLAN] = "{}"
    run = await Run(jobs).adopt()
    with pytest.raises(InfrastructureError, match="is unreadable"):
        await run.task
    assert jobs.jobs == {}
    assert not any(map(is_tombstone, jobs.jobs.values()))


@in_virtual_time
@pytest.mark.parametrize("code", [0, 3])
async def test_the_end_of_the_last_stage_is_the_end_although_somebody_has_added_a_container(code: int) -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.add_sidecar()
    pod.run("push")
    await settle(5)
    if code:
        pod.fail(code, "no way\n")
    else:
        pod.succeed(CODE_COMMIT="c" * 40)
    await settle(0.5)
    assert not run.task.done()
    outcome = await run.task
    assert outcome == SetupSucceeded("c" * 40) if code == 0 else isinstance(outcome, SetupFailed)
    assert run.count(f"delete {JOB}") == 1
    assert (run.jobs.jobs, run.jobs.pods) == ({}, {})


@in_virtual_time
async def test_a_container_that_was_added_changes_nothing_while_stages_run() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.add_sidecar()
    pod.run("push")
    await settle(600)
    assert not run.task.done()
    assert run.count("delete") == 0


@in_virtual_time
async def test_a_failure_that_may_pass_is_told_although_somebody_has_added_a_container() -> None:
    run = await Run().begin()
    pod = run.pod()
    pod.add_sidecar()
    pod.run("push")
    pod.fail(75)
    assert await reason(run) is Reason.STEP_TRANSIENT
    assert run.jobs.pods == {}


@in_virtual_time
async def test_why_a_pod_does_not_start_is_told_while_it_does_not() -> None:
    run = await Run().begin()
    pod = run.pod()
    await settle(1)
    assert run.told == []
    assert run.job is not None
    run.jobs.warnings[run.job["metadata"]["uid"]] = ['MountVolume.SetUp failed: secret "git" not found']
    await settle(10)
    assert [update.waits_for for update in run.told] == ['MountVolume.SetUp failed: secret "git" not found']
    pod.wait_for_image()
    await settle(10)
    assert run.told[-1].waits_for == "ImagePullBackOff: no such image"
    pod.run("fetch")
    await settle(5)
    assert run.told[-1] == FETCH
    pod.succeed()
    assert await run.task == SetupSucceeded()


@in_virtual_time
async def test_a_pod_for_which_a_quota_leaves_no_room_is_not_started_and_nothing_is_left() -> None:
    run = await Run().begin()
    assert run.job is not None
    run.jobs.warnings[run.job["metadata"]["uid"]] = ['pods "x" is forbidden: exceeded quota: few, used: pods=1']
    with pytest.raises(NotStarted, match="exceeded quota: few"):
        await run.task
    assert run.jobs.jobs == {}
    assert now() < 1030


@in_virtual_time
async def test_a_quota_that_has_left_room_meanwhile_is_of_no_account() -> None:
    run = await Run().begin()
    assert run.job is not None
    run.jobs.warnings[run.job["metadata"]["uid"]] = ['pods "x" is forbidden: exceeded quota: few, used: pods=1']
    pod = run.pod()
    await settle(60)
    assert not run.task.done()
    pod.succeed()
    assert await run.task == SetupSucceeded()


async def reason(run: Run) -> Reason:
    """Why the attempt breaks."""
    with pytest.raises(InfrastructureError) as caught:
        await run.task
    return caught.value.reason
