"""The Job engine: runs attempts as Kubernetes Jobs."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from projectsetup.api.reasons import Reason
from projectsetup.engines.base import Adoption, AttemptSpec, FindRun
from projectsetup.engines.kubernetes_job.lifecycle import (
    LINGERS_AFTER,
    collect_garbage,
    create_job,
    delete_job,
    find_job_or_prevent_it,
    no_success,
    wait_for_predecessors,
)
from projectsetup.engines.kubernetes_job.logs import QUICK
from projectsetup.engines.kubernetes_job.manifest import is_tombstone, job_manifest
from projectsetup.engines.kubernetes_job.monitor import LATE, Clock, JobMonitor, Monitored, ProgressReporter
from projectsetup.engines.kubernetes_job.objects import JobRef
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.engines.kubernetes_job.run_control import RunControl, controlled
from projectsetup.setup.environment import secrets_in
from projectsetup.setup.scrub import Scrubber
from projectsetup.setup.types import InfrastructureError, SetupStopped

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.client import Body, JobCache, JobClient, JobView
    from projectsetup.engines.kubernetes_job.pod import PodSettings
    from projectsetup.recipes.model import Recipe
    from projectsetup.setup.log import AttemptLog
    from projectsetup.setup.types import ProgressCallback, SetupOutcome


class JobEngine:
    """Runs attempts as Jobs, which continue whatever happens to the operator.

    While the API server does not answer, everything waits; a missing answer never ends an attempt.
    """

    name = "job"
    outlives_operator = True
    needs_credentials = False

    def __init__(
        self, client: JobClient, cache: JobCache, settings: PodSettings, *, clock: Clock = lambda: datetime.now(UTC)
    ) -> None:
        """`clock` is compared with times that the API server sets."""
        self._client = client
        self._cache = cache
        self._settings = settings
        self._clock = clock

    async def start(self) -> None:
        """Start watching Jobs, without waiting for the API server."""
        await self._cache.start()

    async def close(self) -> None:
        """Stop watching; Jobs continue."""
        await self._cache.close()

    def digest(self, recipe: Recipe, timeout: float) -> str:
        """See `Engine`. The Job holds the plan itself, where tenants can change it."""
        return Plan.of(recipe, timeout).digest

    async def run(
        self, attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, leave: asyncio.Event, log: AttemptLog
    ) -> SetupOutcome:
        """Create the Job of the attempt once nothing else of its project runs, and monitor it; see `Engine`.

        The first step of a new attempt is not reported. When cancelled, `run` deletes the Job and raises SetupStopped
        once Job and pods are gone. When asked to leave, it creates the Job first. An adoption without a Job is
        `Interrupted`, and from then on no such Job can be created.
        """
        if isinstance(attempt, Adoption):
            return await controlled(partial(self._adopt, attempt, on_progress, log), leave)
        return await controlled(partial(self._begin, attempt, on_progress, log), leave)

    async def kill_all(self) -> None:
        """Do nothing: Jobs continue without this operator."""

    async def collect_garbage(self, find_run: FindRun) -> None:
        """Delete every Job that may still run and that its ProjectSetup does not report, and old tombstones."""
        await collect_garbage(self._client, self._cache, find_run, self._clock())

    async def _begin(
        self, attempt: AttemptSpec, on_progress: ProgressCallback, log: AttemptLog, control: RunControl
    ) -> SetupOutcome:
        limit = min(self._settings.start_limit, attempt.timeout)
        waited = await wait_for_predecessors(self._client, self._cache, attempt, control, limit=limit)
        manifest = job_manifest(attempt, self._settings, waited=waited)
        job = await create_job(self._client, attempt, manifest, control)
        return await self._monitor(job, attempt, on_progress, log, control, waited=waited)

    async def _adopt(
        self, adoption: Adoption, on_progress: ProgressCallback, log: AttemptLog, control: RunControl
    ) -> SetupOutcome:
        job = await find_job_or_prevent_it(self._client, adoption)
        return await self._monitor(job, adoption, on_progress, log, control)

    async def _monitor(
        self,
        job: Body | None,
        attempt: AttemptSpec | Adoption,
        on_progress: ProgressCallback,
        log: AttemptLog,
        control: RunControl,
        *,
        waited: float = 0.0,
    ) -> SetupOutcome:
        """`waited`: seconds of the attempt's time that passed before its Job was created."""
        if job is None or is_tombstone(job):
            if control.stopping:
                raise SetupStopped("stopped before its Job was created")
            message = f"the operator ended before it created Job {attempt.run_name}"
            raise InfrastructureError(Reason.INTERRUPTED, message)
        control.job_exists()
        ref, is_new = JobRef.of(job), isinstance(attempt, AttemptSpec)
        with self._cache.view(ref.namespace, ref.uid, control.wake) as view:
            try:
                plan = _plan(job, attempt)
            except InfrastructureError:
                await self._delete_unknown(view, ref, control)
                raise
            log.scrubber = self._scrubber(attempt)
            monitored = Monitored(
                ref=ref,
                created=job,
                plan=plan,
                deadline=_created_at(job) + timedelta(seconds=plan.timeout - waited) + LATE,
                start_limit=max(self._settings.start_limit - int(waited), 1.0),
                log=log,
                unread_secret=attempt.credentials_secret if attempt.credentials is None else None,
                log_delay=QUICK if is_new else 0.0,
            )
            reporter = ProgressReporter(on_progress, plan.progress_at(plan.steps[0].name) if is_new else None)
            monitor = JobMonitor(self._client, view, monitored, clock=self._clock, control=control, reporter=reporter)
            try:
                return await monitor.outcome()
            finally:
                reporter.close()

    async def _delete_unknown(self, view: JobView, ref: JobRef, control: RunControl) -> None:
        """Delete a Job without a plan. What lingers is left to the next attempt, which waits for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGERS_AFTER):
                await delete_job(
                    self._client, view, ref, control, find_success=no_success, on_lingering=lambda _why: None
                )

    def _scrubber(self, attempt: AttemptSpec | Adoption) -> Scrubber:
        secrets = attempt.credentials.secrets if attempt.credentials is not None else ()
        return Scrubber((*secrets, *secrets_in(self._settings.environment)))


def _plan(job: Body, attempt: AttemptSpec | Adoption) -> Plan:
    if isinstance(attempt, AttemptSpec):
        return Plan.of(attempt.recipe, attempt.timeout)
    return Plan.read(job, attempt.digest)


def _created_at(job: Body) -> datetime:
    return datetime.fromisoformat(job["metadata"]["creationTimestamp"])
