"""What only the Job engine itself on a real node can show; the other modules here run whole operators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from devcluster import Cluster
from devcluster.images import BUSYBOX
from projectsetup.api.constants import controller_of
from projectsetup.engines.base import AttemptSpec, CurrentRun, LeftRunning, run_name
from projectsetup.engines.kubernetes_job.engine import JobEngine
from projectsetup.engines.kubernetes_job.manifest import PROJECT, SELECTOR
from projectsetup.engines.kubernetes_job.objects import pod_has_ended
from projectsetup.engines.kubernetes_job.pod import PodSettings
from projectsetup.kube.connection import connect
from projectsetup.kube.job_cache import JobCache
from projectsetup.kube.jobs import JobClient
from projectsetup.kube.leader import SoleOperator
from projectsetup.recipes.model import Recipe
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.types import Progress, SetupOutcome, SetupProject, SetupStopped, SetupSucceeded
from tests.support.api_server import ApiServer
from tests.support.job_attempts import make_recipe

LIMIT: Final = 120.0
COMMIT: Final = "c0de" * 10


@dataclass
class Attempt:
    """One attempt; `steps` are those that it has reported."""

    spec: AttemptSpec
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    steps: list[str] = field(default_factory=list)
    task: asyncio.Task[SetupOutcome] = field(init=False)

    def report(self, progress: Progress) -> None:
        """Take in the progress."""
        self.steps.append(progress.step)

    async def outcome(self) -> SetupOutcome:
        """Return how it ended."""
        return await asyncio.wait_for(self.task, LIMIT)

    async def left_running(self) -> None:
        """Ask the engine to leave it running, and wait until it has."""
        self.leave.set()
        with pytest.raises(LeftRunning):
            await self.outcome()


@dataclass
class Site:
    """The engine of one operator, and the namespace in which it works."""

    api: ApiServer
    client: JobClient
    engine: JobEngine

    def run(self, recipe: Recipe, *, after: AttemptSpec | None = None) -> Attempt:
        """Start the first attempt of a new project, or the one after another."""
        name = str(uuid4()) if after is None else after.name
        uid = str(self.api.create(name)["metadata"]["uid"]) if after is None else after.uid
        number = 1 if after is None else after.number + 1
        spec = AttemptSpec(
            namespace=self.api.namespace,
            name=name,
            uid=uid,
            project=SetupProject(UUID(name), "sample", "sample", "", "https://code.example/x", None),
            recipe=recipe,
            parameters={},
            number=number,
            fence=number,
            run_name=run_name(name, number, number, "token"),
            timeout=600.0,
        )
        attempt = Attempt(spec)
        attempt.task = asyncio.create_task(self.engine.run(spec, attempt.report, attempt.leave, AttemptLog(0)))
        return attempt

    async def pods(self, attempt: Attempt) -> list[Any]:
        """Return the pods of its Job."""
        found = (await self.client.select(attempt.spec.namespace, SELECTOR))[1]
        return [pod for pod in found if (controller_of(pod) or {}).get("name") == attempt.spec.run_name]

    async def job(self, attempt: Attempt) -> Any:
        """Return its Job."""
        return await self.client.get_job(attempt.spec.namespace, attempt.spec.run_name)

    async def until_ready(self, attempt: Attempt) -> None:
        """Return once its first step has printed `ready`."""
        async with asyncio.timeout(LIMIT):
            while True:
                for pod in await self.pods(attempt):
                    if not pod_has_ended(pod) and "ready" in await self._log(str(pod["metadata"]["name"])):
                        return
                await asyncio.sleep(0.1)

    async def until_gone(self, attempt: Attempt) -> None:
        """Return once its Job is gone."""
        async with asyncio.timeout(LIMIT):
            while await self.job(attempt) is not None:  # noqa: ASYNC110  # of what happens elsewhere
                await asyncio.sleep(0.1)

    async def _log(self, pod: str) -> str:
        read = b""
        with suppress(self.client.failed, TimeoutError):
            async with asyncio.timeout(0.5):
                async for piece in self.client.follow_log(self.api.namespace, pod, "step-0", since=None):
                    read += piece
        return read.decode()


@pytest.fixture(scope="module")
def api(node_cluster: Cluster) -> ApiServer:
    return ApiServer.prepared(node_cluster.kubeconfig, "engine")


@pytest.fixture
async def site(node_cluster: Cluster, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setenv("KUBECONFIG", str(node_cluster.kubeconfig))
    async with await connect() as calls, await connect(streaming=True) as streams:
        client = JobClient(calls, streams, SoleOperator())
        engine = JobEngine(client, JobCache(streams, (api.namespace,), selector=SELECTOR), PodSettings())
        await engine.start()
        try:
            yield Site(api, client, engine)
        finally:
            await engine.close()


def steps(*runs: str, isolate: bool = True) -> Recipe:
    """A recipe of steps `step-0`, `step-1`, …, by default each in its own container."""
    written = [{"name": f"step-{number}", "run": run, "isolate": isolate} for number, run in enumerate(runs)]
    return make_recipe(*written, image=BUSYBOX)


async def test_steps_within_one_container_are_reported_as_they_begin(site: Site) -> None:
    attempt = site.run(steps("sleep 2", "sleep 2", "sleep 2", isolate=False))
    assert await attempt.outcome() == SetupSucceeded()
    assert attempt.steps == ["step-1", "step-2"]


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


async def test_the_next_attempt_begins_once_nothing_of_the_last_runs(site: Site) -> None:
    first = site.run(steps("trap '' TERM; echo ready; sleep 600 & sleep 600"))
    await site.until_ready(first)
    await first.left_running()
    second = site.run(steps("true"), after=first.spec)
    assert await second.outcome() == SetupSucceeded()
    assert await site.job(first) is None
    [job] = (await site.client.select(site.api.namespace, f"{SELECTOR},{PROJECT}={first.spec.name}"))[0]
    [pod] = await site.pods(second)
    assert job["metadata"]["name"] == second.spec.run_name
    assert pod["metadata"]["creationTimestamp"] >= job["metadata"]["creationTimestamp"]


@pytest.mark.parametrize("part", ["apiserver", "kubelet"])
async def test_a_part_of_the_cluster_dies_while_a_job_runs(node_cluster: Cluster, site: Site, part: str) -> None:
    attempt = site.run(steps("echo ready; sleep 3", f'echo "CODE_COMMIT={COMMIT}" >>"$STEP_OUTPUTS"'))
    await site.until_ready(attempt)
    await asyncio.to_thread(node_cluster.stop, part)
    await asyncio.to_thread(node_cluster.start, part)
    assert await attempt.outcome() == SetupSucceeded(COMMIT, None)


async def test_garbage_collection_deletes_what_no_setup_reports(site: Site) -> None:
    reported, orphaned = (site.run(steps("echo ready; sleep 600")) for _ in range(2))
    for attempt in (reported, orphaned):
        await site.until_ready(attempt)
        await attempt.left_running()
    runs = {of.spec.name: CurrentRun(of.spec.uid, of.spec.run_name, is_over=False) for of in (reported, orphaned)}
    runs[orphaned.spec.name] = CurrentRun(orphaned.spec.uid, None, is_over=True)
    await site.engine.collect_garbage(lambda _namespace, name: runs.get(name))
    await site.until_gone(orphaned)
    assert await site.pods(orphaned) == []
    assert [pod["status"]["phase"] for pod in await site.pods(reported)] == ["Running"]
    await site.engine.collect_garbage(lambda _namespace, _name: CurrentRun(reported.spec.uid, None, is_over=True))
