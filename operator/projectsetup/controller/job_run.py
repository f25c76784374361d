"""Runs an attempt as a Kubernetes Job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from projectsetup.controller.attempts import Adoption, AttemptOrder
from projectsetup.controller.facts import Progress
from projectsetup.controller.telling import telling
from projectsetup.engines.base import LookUp
from projectsetup.engines.kubernetes_job.attempt import Adopted, JobAttempt
from projectsetup.engines.kubernetes_job.engine import JobEngine
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.recipes.model import Recipe
from projectsetup.setup.outcome import SetupFailed, SetupSucceeded


class JobRun:
    """The engine `job`."""

    name = "job"
    outlives_operator = True
    needs_credentials = False

    def __init__(self, engine: JobEngine, *, allow_file_repos: bool) -> None:
        self._engine = engine
        self._allow_file_repos = allow_file_repos

    def digest(self, recipe: Recipe, timeout: float) -> str:
        """That of the plan, which the Job carries and anybody in its namespace can change."""
        return Plan.of(recipe, timeout).digest

    async def start(self) -> None:
        """Begin to watch Jobs."""
        await self._engine.start()

    async def close(self) -> None:
        """Watch no more; Jobs go on."""
        await self._engine.close()

    async def kill_all(self) -> None:
        """Jobs are left alone: they go on without this operator."""

    async def sweep(self, look_up: LookUp) -> None:
        """End the Jobs that nobody follows. Raises InfrastructureError."""
        await self._engine.sweep(look_up)

    async def run(
        self, order: AttemptOrder | Adoption, on_progress: Callable[[Progress], None], leave: asyncio.Event
    ) -> SetupSucceeded | SetupFailed:
        """Run or follow one attempt; see `Engine`."""
        moved = telling(on_progress)
        if isinstance(order, Adoption):
            return await self._engine.adopt(_adopted(order), moved, leave)
        return await self._engine.run(self._attempt(order), moved, leave)

    def _attempt(self, order: AttemptOrder) -> JobAttempt:
        namespace, name = order.key
        return JobAttempt(
            namespace=namespace,
            name=name,
            uid=order.uid,
            project=order.told_project(),
            recipe=order.recipe,
            parameters=order.parameters,
            number=order.number,
            fence=order.fence,
            job_name=order.run.name,
            timeout=order.timeout,
            credentials_secret=order.credentials_secret,
            credentials=order.credentials,
            allow_file_repos=self._allow_file_repos,
        )


def _adopted(order: Adoption) -> Adopted:
    namespace, name = order.key
    return Adopted(
        namespace=namespace,
        name=name,
        uid=order.uid,
        project_id=order.project_id,
        number=order.number,
        fence=order.fence,
        job_name=order.run.name,
        digest=order.run.id,
    )
