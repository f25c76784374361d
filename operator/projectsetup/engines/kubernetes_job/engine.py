"""The Job engine: makes the Job of an attempt, follows it to its end, and ends Jobs that nobody follows."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from projectsetup.api.reasons import Reason
from projectsetup.engines.base import Adoption, AttemptSpec, FindRun
from projectsetup.engines.kubernetes_job.course import Course, conduct
from projectsetup.engines.kubernetes_job.following import LATE, Clock, Following
from projectsetup.engines.kubernetes_job.log_following import QUICK
from projectsetup.engines.kubernetes_job.manifest import is_tombstone, job_manifest, tombstone
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.engines.kubernetes_job.progress import ProgressReporter
from projectsetup.engines.kubernetes_job.ref import JobRef
from projectsetup.engines.kubernetes_job.removing import LINGERS, nothing_known, remove
from projectsetup.engines.kubernetes_job.starting import clear_away, find, make
from projectsetup.engines.kubernetes_job.sweeping import sweep
from projectsetup.setup.environment import secrets_in
from projectsetup.setup.errors import InfrastructureError, SetupStopped
from projectsetup.setup.scrub import Scrubber

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.attempt import PodSettings
    from projectsetup.engines.kubernetes_job.ports import Body, JobBoard, JobCluster
    from projectsetup.recipes.model import Recipe
    from projectsetup.setup.outcome import SetupOutcome
    from projectsetup.setup.updates import ProgressCallback


class JobEngine:
    """Runs attempts as Jobs, which go on whatever happens to the operator.

    While the API server is away everything waits; nothing is taken for an end because there was no answer.
    """

    name = "job"
    outlives_operator = True
    needs_credentials = False

    def __init__(
        self, cluster: JobCluster, board: JobBoard, settings: PodSettings, *, clock: Clock = lambda: datetime.now(UTC)
    ) -> None:
        """`clock` is compared with times that the API server tells."""
        self._cluster = cluster
        self._board = board
        self._settings = settings
        self._clock = clock

    async def start(self) -> None:
        """Begin to be told of Jobs; this does not wait for the API server."""
        await self._board.start()

    async def close(self) -> None:
        """Be told no more; Jobs go on."""
        await self._board.close()

    def digest(self, recipe: Recipe, timeout: float) -> str:
        """See `Engine`: the plan that this digest is of travels with the Job, where tenants can change it."""
        return Plan.of(recipe, timeout).digest

    async def run(
        self, attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, leave: asyncio.Event
    ) -> SetupOutcome:
        """Make the Job of the attempt once nothing else of its project is alive, and follow it; see `Engine`.

        The first step of an attempt that begins here is not reported. Cancelled, it deletes the Job and raises
        SetupStopped when Job and pods have gone. When asked to leave, it makes the Job first. An adoption without a
        Job is `Interrupted`, and from then on no such Job can be made.
        """
        if isinstance(attempt, Adoption):
            return await conduct(partial(self._adopt, attempt, on_progress), leave)
        return await conduct(partial(self._run, attempt, on_progress), leave)

    async def kill_all(self) -> None:
        """Do nothing: Jobs go on without this operator."""

    async def collect_garbage(self, find_run: FindRun) -> None:
        """Delete every Job that may still run and that its ProjectSetup does not report, and old tombstones."""
        await sweep(self._cluster, self._board, find_run, self._clock())

    async def _run(self, attempt: AttemptSpec, on_progress: ProgressCallback, course: Course) -> SetupOutcome:
        patience = min(self._settings.start_limit, attempt.timeout)
        waited = await clear_away(self._cluster, self._board, attempt, course, patience=patience)
        manifest = job_manifest(attempt, self._settings, waited=waited)
        job = await make(self._cluster, attempt, manifest, tombstone(attempt), course)
        return await self._follow(job, attempt, on_progress, course, waited=waited)

    async def _adopt(self, adoption: Adoption, on_progress: ProgressCallback, course: Course) -> SetupOutcome:
        job = await find(self._cluster, adoption, tombstone(adoption))
        return await self._follow(job, adoption, on_progress, course)

    async def _follow(
        self,
        job: Body | None,
        attempt: AttemptSpec | Adoption,
        on_progress: ProgressCallback,
        course: Course,
        *,
        waited: float = 0.0,
    ) -> SetupOutcome:
        """`waited`: seconds of the attempt's time that were spent before its Job was made."""
        if job is None or is_tombstone(job):
            if course.stopping:
                raise SetupStopped("stopped before there was a Job")
            message = f"the operator ended before it had started Job {attempt.run_name}"
            raise InfrastructureError(Reason.INTERRUPTED, message)
        course.begun()
        ref, begins = JobRef.of(job), isinstance(attempt, AttemptSpec)
        with self._board.view(ref.namespace, ref.uid, course.wake) as view:
            try:
                plan = _plan(job, attempt)
            except InfrastructureError:
                with contextlib.suppress(TimeoutError):  # the next attempt waits for what is left then
                    async with asyncio.timeout(LINGERS):
                        await remove(
                            self._cluster, view, ref, course, success=nothing_known, on_lingering=lambda _why: None
                        )
                raise
            progress = ProgressReporter(on_progress, plan.update_at(plan.steps[0].name) if begins else None)
            following = Following(
                self._cluster,
                view,
                job,
                ref=ref,
                plan=plan,
                deadline=_made_at(job) + timedelta(seconds=plan.timeout - waited) + LATE,
                scrubber=self._scrubber(attempt),
                start_limit=max(self._settings.start_limit - int(waited), 1.0),
                clock=self._clock,
                course=course,
                progress=progress,
                log_patience=QUICK if begins else 0.0,
            )
            try:
                return await following.outcome()
            finally:
                progress.close()

    def _scrubber(self, attempt: AttemptSpec | Adoption) -> Scrubber:
        credentials = attempt.credentials if isinstance(attempt, AttemptSpec) else None
        secrets = credentials.secrets if credentials is not None else ()
        return Scrubber((*secrets, *secrets_in(self._settings.environment)))


def _plan(job: Body, attempt: AttemptSpec | Adoption) -> Plan:
    if isinstance(attempt, AttemptSpec):
        return Plan.of(attempt.recipe, attempt.timeout)
    return Plan.read(job, attempt.digest)


def _made_at(job: Body) -> datetime:
    return datetime.fromisoformat(job["metadata"]["creationTimestamp"])
