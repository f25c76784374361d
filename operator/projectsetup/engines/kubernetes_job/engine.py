"""The Job engine: makes the Job of an attempt, follows it to its end, and ends what nobody follows."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from projectsetup.engines.kubernetes_job.attempt import Adopted, JobAttempt, PodSettings
from projectsetup.engines.kubernetes_job.course import Course, conduct
from projectsetup.engines.kubernetes_job.following import LATE, Clock, Following
from projectsetup.engines.kubernetes_job.log_following import QUICK
from projectsetup.engines.kubernetes_job.manifest import is_tombstone, job_manifest, tombstone
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.engines.kubernetes_job.progress import Progress
from projectsetup.engines.kubernetes_job.ref import JobRef
from projectsetup.engines.kubernetes_job.removing import LINGERS, nothing_known, remove
from projectsetup.engines.kubernetes_job.starting import clear_away, find, make
from projectsetup.engines.kubernetes_job.sweeping import sweep
from projectsetup.setup.environment import secrets_in
from projectsetup.setup.errors import FailureReason, InfrastructureError, SetupStopped
from projectsetup.setup.scrub import Scrubber

if TYPE_CHECKING:
    from projectsetup.engines.base import LookUp
    from projectsetup.engines.kubernetes_job.ports import Body, JobBoard, JobCluster
    from projectsetup.setup.outcome import SetupOutcome
    from projectsetup.setup.updates import StatusCallback


class JobEngine:
    """Runs attempts as Jobs, which go on whatever happens to the operator.

    While the API server is away everything waits; nothing is taken for an end because there was no answer.
    """

    name: Final = "job"

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

    async def run(self, attempt: JobAttempt, on_progress: StatusCallback, leave: asyncio.Event) -> SetupOutcome:
        """Make the Job of the attempt once nothing else of its project is alive, and follow it.

        `on_progress` is called when another step than the first has begun. Raises InfrastructureError when the attempt
        broke. Cancelled, it deletes the Job and raises SetupStopped when that is gone with all its pods, unless the
        last step had succeeded all the same. Once `leave` is set it raises LeftRunning, and leaves the Job alone: when
        the Job is made, or at once when it is cancelled too.
        """
        return await conduct(partial(self._run, attempt, on_progress), leave)

    async def adopt(self, adopted: Adopted, on_progress: StatusCallback, leave: asyncio.Event) -> SetupOutcome:
        """Follow what another operator has started; see `run`.

        When there is no Job, there will be none any more, and the attempt is `Interrupted`.
        """
        return await conduct(partial(self._adopt, adopted, on_progress), leave)

    async def sweep(self, look_up: LookUp) -> None:
        """Delete every Job that may still run and of which its ProjectSetup does not tell, and old tombstones.

        `look_up` is called once it is known which Jobs there are. Raises InfrastructureError when the API server
        cannot be asked.
        """
        await sweep(self._cluster, self._board, look_up, self._clock())

    async def _run(self, attempt: JobAttempt, on_progress: StatusCallback, course: Course) -> SetupOutcome:
        plan = Plan.of(attempt.recipe, attempt.timeout)
        adopted = _as_adopted(attempt, plan)
        patience = min(self._settings.start_limit, attempt.timeout)
        waited = await clear_away(self._cluster, self._board, adopted, course, patience=patience)
        manifest = job_manifest(attempt, self._settings, waited=waited)
        job = await make(self._cluster, adopted, manifest, tombstone(adopted), course)
        return await self._follow(job, adopted, on_progress, course, plan=plan, waited=waited)

    async def _adopt(self, adopted: Adopted, on_progress: StatusCallback, course: Course) -> SetupOutcome:
        job = await find(self._cluster, adopted, tombstone(adopted))
        return await self._follow(job, adopted, on_progress, course)

    async def _follow(
        self,
        job: Body | None,
        adopted: Adopted,
        on_progress: StatusCallback,
        course: Course,
        *,
        plan: Plan | None = None,
        waited: float = 0.0,
    ) -> SetupOutcome:
        """`plan`: that of an attempt that begins here, of which its first step is told already.

        `waited`: seconds of the attempt's time that were spent before its Job was made.
        """
        if job is None or is_tombstone(job):
            if course.stopping:
                raise SetupStopped("stopped before there was a Job")
            message = f"the operator ended before it had started Job {adopted.job_name}"
            raise InfrastructureError(FailureReason.INTERRUPTED, message)
        course.begun()
        ref, begins = JobRef.of(job), plan is not None
        with self._board.view(ref.namespace, ref.uid, course.wake) as view:
            try:
                plan = plan or Plan.read(job, adopted.digest)
            except InfrastructureError:
                with contextlib.suppress(TimeoutError):  # the next attempt waits for what is left then
                    async with asyncio.timeout(LINGERS):
                        await remove(
                            self._cluster, view, ref, course, success=nothing_known, on_lingering=lambda _why: None
                        )
                raise
            progress = Progress(on_progress, plan.update_at(plan.steps[0].name) if begins else None)
            following = Following(
                self._cluster,
                view,
                job,
                ref=ref,
                plan=plan,
                deadline=_made_at(job) + timedelta(seconds=plan.timeout - waited) + LATE,
                scrubber=self._scrubber(adopted),
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

    def _scrubber(self, adopted: Adopted) -> Scrubber:
        secrets = adopted.credentials.secrets if adopted.credentials is not None else ()
        return Scrubber((*secrets, *secrets_in(self._settings.environment)))


def _made_at(job: Body) -> datetime:
    return datetime.fromisoformat(job["metadata"]["creationTimestamp"])


def _as_adopted(attempt: JobAttempt, plan: Plan) -> Adopted:
    return Adopted(
        namespace=attempt.namespace,
        name=attempt.name,
        uid=attempt.uid,
        project_id=attempt.project.id,
        number=attempt.number,
        fence=attempt.fence,
        job_name=attempt.job_name,
        digest=plan.digest,
        credentials=attempt.credentials,
    )
