"""The Job engine on a real node: what happens to Jobs, pods and their operators is told as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from kubernetes import client, config

from devcluster import Cluster
from devcluster.images import BUSYBOX
from projectsetup.api.constants import controller_of
from projectsetup.api.reasons import Reason
from projectsetup.engines.base import Adoption, AttemptSpec, CurrentRun, LeftRunning, run_name
from projectsetup.engines.kubernetes_job.engine import JobEngine
from projectsetup.engines.kubernetes_job.manifest import PROJECT, SELECTOR, job_manifest
from projectsetup.engines.kubernetes_job.objects import pod_has_ended
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.engines.kubernetes_job.pod import PodSettings
from projectsetup.kube.connection import connect
from projectsetup.kube.job_watch import JobBoard
from projectsetup.kube.jobs import JobCluster
from projectsetup.kube.leader import SoleOperator
from projectsetup.recipes.model import Recipe
from projectsetup.setup.types import (
    InfrastructureError,
    Progress,
    SetupFailed,
    SetupOutcome,
    SetupProject,
    SetupStopped,
    SetupSucceeded,
)
from tests.support.api_server import ApiServer
from tests.support.job_orders import make_recipe

LIMIT: Final = 120.0
COMMIT: Final = "c0de" * 10
UNTIL_TOLD: Final = 'while ! [ -e "$WORKSPACE/go" ]; do sleep 0.1; done'

Operator = Callable[..., AbstractAsyncContextManager["Site"]]


@dataclass
class Attempt:
    """One attempt that runs."""

    order: AttemptSpec
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    steps: list[str] = field(default_factory=list)
    task: asyncio.Task[SetupOutcome] = field(init=False)

    @property
    def adopted(self) -> Adoption:
        """As the next operator knows it."""
        order = self.order
        return Adoption(
            order.namespace,
            order.name,
            order.uid,
            order.project.id,
            order.number,
            order.fence + 1,
            order.run_name,
            Plan.of(order.recipe, order.timeout).digest,
        )

    def moved(self, update: Progress) -> None:
        """Another step has begun."""
        self.steps.append(update.step)

    async def outcome(self) -> SetupOutcome:
        """How it ended."""
        return await asyncio.wait_for(self.task, LIMIT)

    async def error(self) -> InfrastructureError:
        """What broke it."""
        with pytest.raises(InfrastructureError) as caught:
            await self.outcome()
        return caught.value


@dataclass
class Site:
    """One operator's engine, and the namespace in which it works."""

    api: ApiServer
    calls: JobCluster
    engine: JobEngine
    kubeconfig: Path

    def run(self, recipe: Recipe, *, number: int = 1, of: AttemptSpec | None = None, **changes: Any) -> Attempt:
        """Start an attempt, of a new project or of that of an earlier attempt."""
        name, uid = (of.name, of.uid) if of is not None else self._new_setup()
        project = SetupProject(UUID(name), "sample", "sample", "", "https://code.example/x", None)
        given: dict[str, Any] = {"parameters": {}, "number": number, "fence": number, "timeout": 600.0, **changes}
        given.setdefault("run_name", run_name(name, given["number"], given["fence"], "token"))
        order = AttemptSpec(namespace=self.api.namespace, name=name, uid=uid, project=project, recipe=recipe, **given)
        attempt = Attempt(order)
        attempt.task = asyncio.create_task(self.engine.run(order, attempt.moved, attempt.leave))
        return attempt

    def adopt(self, earlier: Attempt) -> Attempt:
        """Go on with what another operator has left."""
        attempt = Attempt(earlier.order)
        attempt.task = asyncio.create_task(self.engine.run(earlier.adopted, attempt.moved, attempt.leave))
        return attempt

    async def pods(self, attempt: Attempt) -> list[Any]:
        """The pods of its Job."""
        found = (await self.calls.select(attempt.order.namespace, SELECTOR))[1]
        return [pod for pod in found if (controller_of(pod) or {}).get("name") == attempt.order.run_name]

    async def job(self, attempt: Attempt) -> Any:
        """Its Job."""
        return await self.calls.get_job(attempt.order.namespace, attempt.order.run_name)

    async def until_printed(self, attempt: Attempt, text: str, *, container: str, but: str = "") -> str:
        """Return once a container of its pod has printed `text`: the name of the pod, which is not `but`."""
        async with asyncio.timeout(LIMIT):
            while True:
                for pod in await self.pods(attempt):
                    name = str(pod["metadata"]["name"])
                    if name != but and not pod_has_ended(pod) and text in await self.log(name, container):
                        return name
                await asyncio.sleep(0.1)

    async def until_gone(self, attempt: Attempt) -> None:
        """Return once there is no Job of the attempt."""
        async with asyncio.timeout(LIMIT):
            while await self.job(attempt) is not None:  # noqa: ASYNC110  # of what happens elsewhere
                await asyncio.sleep(0.1)

    async def log(self, pod: str, container: str) -> str:
        """What a container has printed so far; nothing while it does not run yet."""
        read = b""
        with suppress(self.calls.failed, TimeoutError):
            async with asyncio.timeout(0.5):
                async for piece in self.calls.follow_log(self.api.namespace, pod, container, since=None):
                    read += piece
        return read.decode()

    def evict(self, pod: str) -> None:
        """Take a pod away, as a drain does."""
        core: Any = client.CoreV1Api(config.new_client_from_config(str(self.kubeconfig)))
        core.create_namespaced_pod_eviction(pod, self.api.namespace, {"metadata": {"name": pod}})

    def let_go(self, pod: str, *, container: str = "step-0") -> None:
        """End what waits in a container."""
        self.kubectl("exec", pod, "-c", container, "--", "touch", "/setup/workspace/go")

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints."""
        return self.api.kubectl(*arguments)

    def _new_setup(self) -> tuple[str, str]:
        name = str(uuid4())
        return name, str(self.api.create(name)["metadata"]["uid"])


@pytest.fixture(scope="module")
def api(node_cluster: Cluster) -> ApiServer:
    return ApiServer.prepared(node_cluster.kubeconfig, "engine")


@pytest.fixture
def operator(node_cluster: Cluster, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Opens the engine of an operator."""
    monkeypatch.setenv("KUBECONFIG", str(node_cluster.kubeconfig))

    @asynccontextmanager
    async def operator(**settings: Any) -> AsyncIterator[Site]:
        async with await connect() as calls, await connect(streaming=True) as streams:
            cluster = JobCluster(calls, streams, SoleOperator())
            board = JobBoard(streams, (api.namespace,), selector=SELECTOR)
            engine = JobEngine(cluster, board, PodSettings(**settings))
            await engine.start()
            try:
                yield Site(api, cluster, engine, node_cluster.kubeconfig)
            finally:
                await engine.close()

    return operator


@pytest.fixture
async def site(operator: Operator) -> AsyncIterator[Site]:
    async with operator() as site:
        yield site


def steps(*runs: str, isolate: bool = True, **top: Any) -> Recipe:
    """A recipe of steps `step-0`, `step-1`, …, each in a container of its own unless told otherwise."""
    written = [{"name": f"step-{number}", "run": run, "isolate": isolate} for number, run in enumerate(runs)]
    return make_recipe(*written, image=BUSYBOX, **top)


async def test_steps_run_one_after_another_in_one_workspace_and_tell_facts(site: Site) -> None:
    attempt = site.run(
        steps("echo hello >greeting", f'grep -q hello greeting; echo "CODE_COMMIT={COMMIT}" >>"$STEP_OUTPUTS"', "ls")
    )
    assert await attempt.outcome() == SetupSucceeded(COMMIT, None)
    assert [pod["status"]["phase"] for pod in await site.pods(attempt)] == ["Succeeded"]


async def test_a_failure_is_told_with_what_the_step_printed(site: Site) -> None:
    attempt = site.run(steps("true", "echo the disk is on fire >&2; exit 3", "touch /never"))
    outcome = await attempt.outcome()
    assert isinstance(outcome, SetupFailed)
    assert (outcome.step, outcome.exit_code) == ("step-1", 3)
    assert "the disk is on fire" in outcome.message
    assert await site.job(attempt) is not None


async def test_steps_within_one_container_are_told_as_they_begin(site: Site) -> None:
    attempt = site.run(steps("sleep 2", "sleep 2", "sleep 2", isolate=False))
    assert await attempt.outcome() == SetupSucceeded()
    assert attempt.steps == ["step-1", "step-2"]


async def test_a_cancelled_attempt_is_gone_when_it_is_told(site: Site) -> None:
    attempt = site.run(steps("true", "trap 'echo told to stop' TERM; echo ready; sleep 600 & wait; sleep 600"))
    await site.until_printed(attempt, "ready", container="step-1")
    attempt.task.cancel()
    with pytest.raises(SetupStopped):
        await attempt.outcome()
    assert await site.job(attempt) is None
    assert await site.pods(attempt) == []


async def test_a_cancel_right_after_the_start_leaves_nothing(site: Site) -> None:
    attempts = [site.run(steps("sleep 600")) for _ in range(5)]
    for number, attempt in enumerate(attempts):
        await asyncio.sleep(number * 0.02)  # another moment of the start for each
        attempt.task.cancel()
    for attempt in attempts:
        with pytest.raises(SetupStopped):
            await attempt.outcome()
        assert await site.job(attempt) is None
        assert await site.pods(attempt) == []


async def test_an_eviction_burns_no_attempt(site: Site) -> None:
    attempt = site.run(steps(f"echo ready; {UNTIL_TOLD}", f'echo "CODE_COMMIT={COMMIT}" >>"$STEP_OUTPUTS"'))
    first = await site.until_printed(attempt, "ready", container="step-0")
    site.evict(first)
    second = await site.until_printed(attempt, "ready", container="step-0", but=first)
    assert all(map(pod_has_ended, [pod for pod in await site.pods(attempt) if pod["metadata"]["name"] == first]))
    site.let_go(second)
    assert await attempt.outcome() == SetupSucceeded(COMMIT, None)


async def test_what_an_operator_left_running_is_followed_by_the_next(operator: Operator) -> None:
    async with operator() as first:
        left = first.run(steps("true", f"echo ready; {UNTIL_TOLD}"))
        pod = await first.until_printed(left, "ready", container="step-1")
        left.leave.set()
        with pytest.raises(LeftRunning):
            await left.outcome()
    async with operator() as second:
        adopted = second.adopt(left)
        second.let_go(pod, container="step-1")
        assert await adopted.outcome() == SetupSucceeded()


async def test_what_was_never_started_never_will_be(site: Site) -> None:
    attempt = site.run(steps("true"))
    attempt.task.cancel()
    with suppress(SetupStopped, asyncio.CancelledError):
        await attempt.outcome()
    error = await site.adopt(attempt).error()
    assert error.reason is Reason.INTERRUPTED
    stone = await site.job(attempt)
    again = await site.calls.create_or_get(attempt.order.namespace, job_manifest(attempt.order, PodSettings()))
    assert again["metadata"]["uid"] == stone["metadata"]["uid"]
    assert await site.pods(attempt) == []


async def test_a_job_that_somebody_deletes_interrupts_the_attempt(site: Site) -> None:
    attempt = site.run(steps("echo ready; sleep 600"))
    await site.until_printed(attempt, "ready", container="step-0")
    site.kubectl("delete", "job", attempt.order.run_name, "--wait=false")
    error = await attempt.error()
    assert error.reason is Reason.INTERRUPTED
    assert all(map(pod_has_ended, await site.pods(attempt)))


async def test_an_image_that_cannot_be_had_is_told_and_not_waited_for_for_ever(operator: Operator) -> None:
    async with operator(start_limit=5.0) as site:
        attempt = site.run(make_recipe({"name": "one"}, image="none.invalid/nothing:1"))
        error = await attempt.error()
        assert error.reason is Reason.ENGINE_ERROR
        assert "none.invalid/nothing:1" in str(error)
        assert await site.job(attempt) is None
        assert await site.pods(attempt) == []


async def test_the_whole_attempt_has_a_time_limit(site: Site) -> None:
    attempt = site.run(steps("sleep 600"), timeout=5.0)
    error = await attempt.error()
    assert error.reason is Reason.STEP_TIMED_OUT
    assert "5s" in str(error)
    assert all(map(pod_has_ended, await site.pods(attempt)))


async def test_the_next_attempt_begins_when_nothing_of_the_last_is_alive(site: Site) -> None:
    first = site.run(steps("trap '' TERM; echo ready; sleep 600 & sleep 600"))
    await site.until_printed(first, "ready", container="step-0")
    first.leave.set()
    with pytest.raises(LeftRunning):
        await first.outcome()
    second = site.run(steps("true"), number=2, of=first.order)
    assert await second.outcome() == SetupSucceeded()
    assert await site.job(first) is None
    [job] = (await site.calls.select(site.api.namespace, f"{SELECTOR},{PROJECT}={first.order.name}"))[0]
    [pod] = await site.pods(second)
    assert job["metadata"]["name"] == second.order.run_name
    assert pod["metadata"]["creationTimestamp"] >= job["metadata"]["creationTimestamp"]


@pytest.mark.parametrize("part", ["apiserver", "kubelet"])
async def test_a_part_of_the_cluster_may_die_while_a_job_runs(node_cluster: Cluster, site: Site, part: str) -> None:
    attempt = site.run(steps("echo ready; sleep 3", f'echo "CODE_COMMIT={COMMIT}" >>"$STEP_OUTPUTS"'))
    await site.until_printed(attempt, "ready", container="step-0")
    await asyncio.to_thread(node_cluster.stop, part)
    await asyncio.to_thread(node_cluster.start, part)
    assert await attempt.outcome() == SetupSucceeded(COMMIT, None)


async def test_many_at_once_each_have_their_own_outcome(site: Site) -> None:
    attempts = [site.run(steps(f"exit {number % 2}")) for number in range(12)]
    outcomes = await asyncio.gather(*(attempt.outcome() for attempt in attempts))
    assert [isinstance(outcome, SetupFailed) for outcome in outcomes] == [number % 2 == 1 for number in range(12)]


async def test_a_sweep_ends_what_nobody_follows(site: Site) -> None:
    kept, swept = (site.run(steps("echo ready; sleep 600")) for _ in range(2))
    for attempt in (kept, swept):
        await site.until_printed(attempt, "ready", container="step-0")
        attempt.leave.set()
        with pytest.raises(LeftRunning):
            await attempt.outcome()
    told = {of.order.name: CurrentRun(of.order.uid, of.order.run_name, is_over=False) for of in (kept, swept)}
    told[swept.order.name] = CurrentRun(swept.order.uid, None, is_over=True)
    await site.engine.collect_garbage(lambda _namespace, name: told.get(name))
    await site.until_gone(swept)
    assert await site.pods(swept) == []
    assert [pod["status"]["phase"] for pod in await site.pods(kept)] == ["Running"]
    await site.engine.collect_garbage(lambda _namespace, _name: CurrentRun(kept.order.uid, None, is_over=True))
