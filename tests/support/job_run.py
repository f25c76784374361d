"""One attempt of the Job engine on an API server in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final, Self

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.base import Adoption, AttemptSpec, CurrentRun
from projectsetup.engines.kubernetes_job.engine import JobEngine
from projectsetup.engines.kubernetes_job.manifest import job_manifest
from projectsetup.engines.kubernetes_job.pod import PodSettings
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.types import InfrastructureError, NotStarted, Progress, SetupOutcome
from tests.support.fake_jobs import Body, FakeJobs, FakePod, Key, now
from tests.support.job_attempts import PROJECT_ID, make_adoption, make_attempt, make_recipe

FETCH: Final = Progress("compiling", "fetch", 0, 3)
BUILD: Final = Progress("compiling", "build", 1, 3)
PUSH: Final = Progress("committing", "push", 2, 3)

RECIPE: Final = make_recipe(
    {"name": "fetch"}, {"name": "build"}, {"name": "push", "status": "committing", "isolate": True}
)
"""Two stages: `fetch` with two steps, and `push`."""

ATTEMPT: Final = make_attempt(RECIPE, timeout=86_400.0)
SETTINGS: Final = PodSettings(start_limit=300.0)
MANIFEST: Final = job_manifest(ATTEMPT, SETTINGS)
KEY: Final = (ATTEMPT.namespace, ATTEMPT.run_name)
JOB: Final = ATTEMPT.run_name


class Run:
    """`jobs` is the API server, `progress` what the attempt reported, `task` the attempt."""

    task: asyncio.Task[SetupOutcome]

    def __init__(self, jobs: FakeJobs | None = None, log: AttemptLog | None = None) -> None:
        self.log = log or AttemptLog(0)
        self.jobs = jobs or FakeJobs()
        self.engine = JobEngine(self.jobs, self.jobs, SETTINGS, clock=now)
        self.leave = asyncio.Event()
        self.progress: list[Progress] = []

    async def begin(self, **changes: Any) -> Self:
        """Start an attempt; returns when it waits."""
        return await self._run(replace(ATTEMPT, **changes))

    async def adopt(self, **changes: Any) -> Self:
        """Adopt an attempt; returns when it waits."""
        return await self._run(make_adoption(**{"run_name": JOB, **changes}))

    async def _run(self, attempt: AttemptSpec | Adoption) -> Self:
        self.task = asyncio.create_task(self.engine.run(attempt, self.progress.append, self.leave, self.log))
        await settle()
        return self

    async def cancel(self) -> None:
        """Cancel the attempt; returns when it waits."""
        self.task.cancel()
        await settle()

    async def expect_failure(self, reason: Reason, match: str | None = None) -> None:
        """Wait until the attempt has failed for this reason."""
        with pytest.raises(InfrastructureError, match=match) as caught:
            await self.task
        assert caught.value.reason is reason
        assert not isinstance(caught.value, NotStarted)

    async def collect_garbage(self, run: str | None = None, *, finished: bool = True) -> None:
        """Collect garbage while every ProjectSetup reports this run."""
        await self.engine.collect_garbage(lambda _namespace, _name: CurrentRun(ATTEMPT.uid, run, finished))

    def pod(self, stage: str | None = None, *, name: str = "pod") -> FakePod:
        """Create a pod of the Job, which runs this stage."""
        pod = self.jobs.start_pod(KEY, name=name)
        if stage is not None:
            pod.run(stage)
        return pod

    @property
    def job(self) -> Body | None:
        """The Job, if it exists."""
        return self.jobs.jobs.get(KEY)

    @property
    def existing_job(self) -> Body:
        """The Job."""
        return self.jobs.jobs[KEY]

    def count(self, call: str) -> int:
        """Count the calls of the engine that begin with `call`."""
        return sum(made.startswith(call) for made in self.jobs.calls)


async def running(stage: str) -> tuple[Run, FakePod]:
    """An attempt whose pod has run this stage for a while."""
    run = await Run().begin()
    pod = run.pod(stage)
    await settle(5)
    return run, pod


async def settle(seconds: float = 0.0) -> None:
    """Let time pass, then run everything that is ready."""
    await asyncio.sleep(seconds)
    for _ in range(50):
        await asyncio.sleep(0)


def earlier(jobs: FakeJobs, *, number: int = 1) -> Key:
    """The Job of an earlier attempt of the same project, which has not ended and has no pod."""
    attempt = make_attempt(RECIPE, number=number, fence=3, run_name=f"setup-{PROJECT_ID}-{number}-3")
    jobs.make(job_manifest(attempt, SETTINGS))
    return attempt.namespace, attempt.run_name


def left_running() -> tuple[FakeJobs, Key, FakePod]:
    """The Job of an earlier attempt, and its pod, which runs `fetch`."""
    jobs = FakeJobs()
    key = earlier(jobs)
    pod = jobs.start_pod(key)
    pod.run("fetch")
    return jobs, key, pod


def existing(stage: str | None = None) -> tuple[FakeJobs, FakePod]:
    """The Job of the attempt as another operator has created it, and its pod."""
    jobs = FakeJobs()
    jobs.make(MANIFEST)
    pod = jobs.start_pod(KEY)
    if stage is not None:
        pod.run(stage)
    return jobs, pod
