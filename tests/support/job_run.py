"""One attempt in the Job engine on an API server in memory."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from projectsetup.engines.base import CurrentRun
from projectsetup.engines.kubernetes_job.engine import JobEngine
from projectsetup.engines.kubernetes_job.manifest import job_manifest
from projectsetup.engines.kubernetes_job.pod import PodSettings
from projectsetup.setup.types import Progress, SetupOutcome
from tests.support.fake_jobs import Body, FakeJobs, FakePod, Key, now
from tests.support.job_orders import PROJECT_ID, make_adopted, make_attempt, make_recipe

FETCH: Final = Progress("compiling", "fetch", 0, 3)
BUILD: Final = Progress("compiling", "build", 1, 3)
PUSH: Final = Progress("committing", "push", 2, 3)

RECIPE: Final = make_recipe(
    {"name": "fetch"}, {"name": "build"}, {"name": "push", "status": "committing", "isolate": True}
)
"""Two stages: `fetch` with two steps, and `push`."""

ATTEMPT: Final = make_attempt(RECIPE, timeout=86_400.0)
ADOPTED: Final = make_adopted(run_name=ATTEMPT.run_name)
SETTINGS: Final = PodSettings(start_limit=300.0)
MANIFEST: Final = job_manifest(ATTEMPT, SETTINGS)
KEY: Final = (ATTEMPT.namespace, ATTEMPT.run_name)
JOB: Final = ATTEMPT.run_name


class Run:
    """`jobs` is the cluster, `told` what was told of progress, `task` what runs."""

    task: asyncio.Task[SetupOutcome]

    def __init__(self, jobs: FakeJobs | None = None) -> None:
        self.jobs = jobs or FakeJobs()
        self.engine = JobEngine(self.jobs, self.jobs, SETTINGS, clock=now)
        self.leave = asyncio.Event()
        self.told: list[Progress] = []

    async def begin(self) -> Run:
        """An attempt starts; returns when it has done what it can."""
        self.task = asyncio.create_task(self.engine.run(ATTEMPT, self.told.append, self.leave))
        await settle()
        return self

    async def adopt(self, **changes: Any) -> Run:
        """An attempt is adopted; returns when that has done what it can."""
        adopted = make_adopted(**{"run_name": JOB, **changes})
        self.task = asyncio.create_task(self.engine.run(adopted, self.told.append, self.leave))
        await settle()
        return self

    async def cancel(self) -> None:
        """The attempt is cancelled; returns when it has done what it can at once."""
        self.task.cancel()
        await settle()

    async def sweep(self, run: str | None = None, *, uid: str = ATTEMPT.uid, over: bool = True) -> None:
        """The engine sweeps, and every ProjectSetup has this uid and tells of this run."""
        await self.engine.collect_garbage(lambda _namespace, _name: CurrentRun(uid, run, over))

    def pod(self, *, name: str = "pod") -> FakePod:
        """The Job gets a pod."""
        return self.jobs.start_pod(KEY, name=name)

    @property
    def job(self) -> Body | None:
        """The Job."""
        return self.jobs.jobs.get(KEY)

    def count(self, call: str) -> int:
        """How often the engine made calls that begin so."""
        return sum(made.startswith(call) for made in self.jobs.calls)


async def settle(seconds: float = 0.0) -> None:
    """Let time pass, and then everything happen that can without it."""
    await asyncio.sleep(seconds)
    for _ in range(50):
        await asyncio.sleep(0)


def earlier(jobs: FakeJobs, *, number: int = 1) -> Key:
    """An earlier attempt of the same project has left its Job, which is not over."""
    attempt = make_attempt(RECIPE, number=number, fence=3, run_name=f"setup-{PROJECT_ID}-{number}-3")
    jobs.make(job_manifest(attempt, SETTINGS))
    assert attempt.project.id == PROJECT_ID
    return attempt.namespace, attempt.run_name
