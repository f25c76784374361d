"""The output of a Job reaches the log of its attempt: each line once, whatever happens to operator, pod and kubelet."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import pytest

from projectsetup.engines.base import LeftRunning
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.setup.credentials import GitCredentials, HttpsLogin
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.types import SetupFailed, SetupStopped, SetupSucceeded
from tests.support.fake_jobs import FakeJobs, FakePod
from tests.support.job_attempts import make_recipe
from tests.support.job_run import KEY, Run, existing, settle
from tests.support.log_database import LogDatabase
from tests.support.virtual_time import in_virtual_time

LIMIT: Final = 1 << 20
FETCH_BEGINS, BUILD_BEGINS, PUSH_BEGINS = (
    f"[projectsetup] step {step} ({number}/3)\n" for number, step in enumerate(("fetch", "build", "push"), 1)
)


class Logged(Run):
    """An attempt whose log is stored in `database`."""

    def __init__(self, jobs: FakeJobs | None = None, database: LogDatabase | None = None, limit: int = LIMIT) -> None:
        self.database = database or LogDatabase()
        super().__init__(jobs, AttemptLog(limit))
        if self.database.batch is not None:
            self.log.restore(self.database.stored_log())

    def store(self) -> None:
        """Store what the log has so far."""
        self.database.store(self.log)

    async def end(self) -> list[tuple[str, str]]:
        """Wait for the end of the attempt, and return what is stored of its log."""
        await asyncio.wait({self.task}, timeout=3600)
        assert self.task.done()
        self.log.close()
        self.store()
        return self.database.lines

    async def next_operator(self) -> Logged:
        """Kill this operator; another one takes over."""
        self.leave.set()
        self.task.cancel()
        with pytest.raises(LeftRunning):
            await self.task
        return await Logged(self.jobs, self.database, self.log.limit).adopt()

    @property
    def requests(self) -> list[str]:
        """The requests for logs."""
        return [call for call in self.jobs.calls if call.startswith(("follow", "read"))]


async def begun(stage: str = "fetch", **changes: object) -> tuple[Logged, FakePod]:
    run = await Logged().begin(**changes)
    return run, run.pod(stage)


@in_virtual_time
async def test_each_line_is_kept_once_with_its_step() -> None:
    run, pod = await begun()
    pod.print(f"{FETCH_BEGINS}one\n")
    await settle(5)
    pod.print("two\r\n10 %\r20 %\nthr")
    await settle(5)
    pod.print(f"ee\n{BUILD_BEGINS}four\n")
    await settle(5)
    pod.run("push")
    pod.print(f"{PUSH_BEGINS}five\nlast")
    pod.succeed()
    fetched = [("fetch", text) for text in ("one", "two", "10 %", "20 %", "three")]
    assert await run.end() == [*fetched, ("build", "four"), ("push", "five"), ("push", "last")]
    assert run.requests == ["follow fetch", "read fetch since 00:16:50", "read push"]
    fetch, build, push = run.log.steps
    assert (fetch.name, build.name, push.name) == ("fetch", "build", "push")
    assert build.began - fetch.began == timedelta(seconds=10)
    assert push.began == build.ended == build.began + timedelta(seconds=5)


@in_virtual_time
async def test_a_quick_attempt_costs_one_request_for_the_log_of_each_container() -> None:
    run, pod = await begun()
    pod.print(f"{FETCH_BEGINS}one\n{BUILD_BEGINS}two\n")
    pod.run("push")
    await settle(0.1)
    pod.print(f"{PUSH_BEGINS}three\n")
    pod.fail(3)
    assert await run.end() == [("fetch", "one"), ("build", "two"), ("push", "three")]
    assert isinstance(run.task.result(), SetupFailed)
    assert run.requests == ["read fetch", "read push"]
    assert len(run.progress) == 1, "what ended long ago is not reported as progress"


@in_virtual_time
@pytest.mark.parametrize("stored", [True, False], ids=["all stored", "not all stored"])
async def test_five_operators_read_a_log_without_a_gap_and_no_line_twice(*, stored: bool) -> None:
    run, pod = await begun()
    pod.print(FETCH_BEGINS)
    expected: list[tuple[str, str]] = []
    for number in range(6):
        step = "fetch" if number < 3 else "build"
        if number == 3:
            pod.print(BUILD_BEGINS)
        for nanoseconds in (1, 1, 1, 2, 999_999_999):
            text = f"{number} {nanoseconds} {len(expected)}"
            pod.log.print(f"{text}\n", nanoseconds=nanoseconds)
            expected.append((step, text))
        await settle(0.3)
        for nanoseconds in (1, 999_999_999):  # within a second of which some was read
            text = f"{number} {nanoseconds} {len(expected)}"
            pod.log.print(f"{text}\n", nanoseconds=nanoseconds)
            expected.append((step, text))
        await settle(3)
        if number == 4:
            pod.print("unfinished")
            expected.append((step, f"unfinished5 1 {len(expected) + 1}"))
            await settle(1)
        if number == 5:
            break
        if stored or number % 2:
            run.store()
        run = await run.next_operator()
        await settle(0.4)
    expected = [(step, text) for step, text in expected if not (text.startswith("5 1 ") and text.endswith(" 36"))]
    pod.succeed()
    lines = await run.end()
    assert [text for _, text in lines] == [text for _, text in expected]
    assert lines == expected


@in_virtual_time
async def test_a_private_key_is_masked_also_if_the_operator_is_killed_within_it() -> None:
    run, pod = await begun("push")
    pod.print(f"{PUSH_BEGINS}-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n")
    await settle(5)
    run.store()
    run = await run.next_operator()
    pod.print("c2gtZWQ\n-----END OPENSSH PRIVATE KEY-----\nb3BlbnNz\n")
    pod.succeed()
    assert await run.end() == [("push", text) for text in ("***", "***", "***", "***", "b3BlbnNz")]


@in_virtual_time
async def test_a_stage_that_ended_while_no_operator_ran_is_read_to_its_end() -> None:
    run, pod = await begun()
    pod.print(f"{FETCH_BEGINS}one\n")
    await settle(5)
    run.store()
    run.task.cancel()
    run.leave.set()
    pod.print(f"two\n{BUILD_BEGINS}three\n")
    pod.run("push")
    pod.print(f"{PUSH_BEGINS}four\n")
    run = await Logged(run.jobs, run.database).adopt()
    pod.succeed()
    assert await run.end() == [("fetch", "one"), ("fetch", "two"), ("build", "three"), ("push", "four")]


@in_virtual_time
async def test_what_the_node_deleted_while_nobody_read_is_missing_in_a_line_of_its_own() -> None:
    run, pod = await begun("push")
    pod.print(f"{PUSH_BEGINS}one\n")
    await settle(5)
    pod.log.cut()
    await settle()
    pod.print("two\n")
    pod.log.rotate()
    await settle(5)
    pod.print("line three\n")
    await settle(5)
    pod.succeed()
    assert await run.end() == [
        ("push", "one"),
        ("push", "[projectsetup] output is missing here: the node had deleted it before it was read"),
        ("push", "line three"),
    ]


@in_virtual_time
async def test_a_replaced_pod_begins_again() -> None:
    run, pod = await begun()
    pod.print(f"{FETCH_BEGINS}one\n{BUILD_BEGINS}two\n")
    await settle(5)
    pod.be_evicted()
    await settle(5)
    run.store()
    run = await run.next_operator()
    other = run.pod("fetch", name="other")
    other.print(f"{FETCH_BEGINS}one again\n")
    await settle(5)
    begins_again = ("fetch", f"[projectsetup] pod {pod.name} was lost; pod {other.name} begins again")
    before = [("fetch", "one"), ("build", "two"), begins_again]
    assert [step.name for step in run.log.steps] == ["fetch"]
    run = await run.next_operator()
    other.succeed()
    assert await run.end() == [*before, ("fetch", "one again")]


@in_virtual_time
@pytest.mark.parametrize("silent", [True, False])
async def test_an_end_waits_three_seconds_at_most_for_a_node_that_does_not_send_the_log(*, silent: bool) -> None:
    run, pod = await begun("push")
    pod.print(f"{PUSH_BEGINS}one\n")
    await settle(5)
    pod.log.silent, pod.log.unanswered = silent, 100
    began = asyncio.get_running_loop().time()
    pod.succeed()
    line = "[projectsetup] output is missing here: the node did not send it within 3s"
    assert await run.end() == [("push", "one"), ("push", line)]
    assert run.task.result() == SetupSucceeded()
    assert asyncio.get_running_loop().time() - began < 3.5


@in_virtual_time
async def test_a_log_that_cannot_be_read_for_a_while_is_complete() -> None:
    run, pod = await begun("push")
    pod.log.unanswered = 5
    pod.print(f"{PUSH_BEGINS}one\n")
    await settle(60)
    pod.print("two\n")
    pod.log.unanswered = 1
    pod.succeed()
    assert await run.end() == [("push", "one"), ("push", "two")]


@in_virtual_time
async def test_what_a_cancelled_step_prints_while_it_ends_is_kept() -> None:
    run, pod = await begun("push")
    pod.print(f"{PUSH_BEGINS}one\n")
    run.jobs.deletion_takes = 2
    await run.cancel()
    await settle(1)
    pod.print("stopping\n")
    pod.log.end()
    with pytest.raises(SetupStopped):
        await run.task
    assert await run.end() == [("push", "one"), ("push", "stopping")]


@in_virtual_time
@pytest.mark.parametrize("was_read", [True, False])
async def test_a_container_that_the_node_has_removed_is_missed_only_if_it_was_not_read(*, was_read: bool) -> None:
    run, pod = await begun("push")
    if was_read:
        await settle(5)
    log = pod.log
    pod.print(f"{PUSH_BEGINS}one\n")
    log.end()
    if was_read:
        await settle(0.1)
    log.removed = True
    pod.succeed()
    why = "unable to retrieve container logs for containerd://abc"
    text = "one" if was_read else f"[projectsetup] output is missing here: {why}"
    assert await run.end() == [("push", text)]


@in_virtual_time
async def test_a_pod_that_is_gone_leaves_a_log_that_says_so() -> None:
    run, pod = await begun("push")
    pod.print(f"{PUSH_BEGINS}one\n")
    run.jobs.remove(KEY)
    why = f"cannot read the log of pod team/{pod.name}: 404 not found"
    line = f"[projectsetup] output is missing here: {why}"
    assert await run.end() == [("fetch", line), ("push", line)]


UNKNOWN: Final = "[projectsetup] the output of step push is not kept, because the operator may not read Secret git"
LOGIN: Final = GitCredentials(HttpsLogin("bob", "correct-horse"))


@in_virtual_time
@pytest.mark.parametrize(
    ("credentials", "expected"),
    [(None, ["one", UNKNOWN]), (LOGIN, ["one", "the secret: ***"])],
    ids=["unknown", "known"],
)
async def test_output_with_a_secret_that_the_operator_does_not_know_is_not_kept(
    credentials: GitCredentials | None, expected: list[str]
) -> None:
    recipe = make_recipe({"name": "fetch"}, {"name": "push", "status": "committing", "credentials": True})
    known = {"credentials_secret": "git", "credentials": credentials}
    run = await Logged().begin(recipe=recipe, **known)
    pod = run.pod("fetch")
    pod.print("[projectsetup] step fetch (1/2)\none\n")
    pod.run("push")
    pod.print("[projectsetup] step push (2/2)\nthe secret: correct-horse\n")
    await settle(5)
    run.store()
    run.leave.set()
    run.task.cancel()
    run = await Logged(run.jobs, run.database).adopt(digest=Plan.of(recipe, 86_400.0).digest, **known)
    await settle(5)
    pod.succeed()
    assert [text for _, text in await run.end()] == expected


@in_virtual_time
async def test_without_a_limit_no_log_is_read_but_for_the_steps_of_a_stage() -> None:
    run = await Logged(limit=0).begin()
    pod = run.pod("fetch")
    pod.print(f"{FETCH_BEGINS}one\n{BUILD_BEGINS}two\n")
    await settle(5)
    pod.run("push")
    await settle(5)
    pod.succeed()
    assert await run.end() == []
    assert run.requests == ["follow fetch"]
    assert [step.name for step in run.log.steps] == ["fetch", "build", "push"]


@in_virtual_time
async def test_a_flood_is_skipped_and_the_log_says_so() -> None:
    jobs, pod = existing("push")
    pod.print(PUSH_BEGINS)
    for number in range(0, 200_000, 1000):
        await settle(0.01)
        pod.print("".join(f"line {number + one:06} {'x' * 40}\n" for one in range(1000)))
    pod.succeed()
    run = await Logged(jobs, limit=65_536).adopt()
    lines = [text for _, text in await run.end()]
    (gap,) = (number for number, text in enumerate(lines) if text.startswith("[projectsetup] output is missing"))
    numbers = [int(text.split()[1]) for text in lines if text.startswith("line ")]
    assert numbers[0] == 0
    assert numbers[-1] == 199_999
    assert 0 < gap < len(lines)
