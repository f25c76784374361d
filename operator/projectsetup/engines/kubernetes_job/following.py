"""Follows a Job to its end."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.liveness import job_has_ended, may_run, pod_has_ended, pod_is_done
from projectsetup.engines.kubernetes_job.log_following import LogFollower
from projectsetup.engines.kubernetes_job.removing import Success, nothing_known, remove
from projectsetup.engines.kubernetes_job.sight import (
    Broken,
    Gone,
    Over,
    Sight,
    Starting,
    Tombstone,
    Unreported,
    Working,
    sight,
)
from projectsetup.engines.kubernetes_job.verdict import end_by_deadline, end_without_a_start
from projectsetup.engines.kubernetes_job.waiting import exceeds_quota
from projectsetup.setup.errors import InfrastructureError, NotStarted, SetupStopped
from projectsetup.setup.outcome import SetupFailed, SetupOutcome, SetupSucceeded

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.course import Course
    from projectsetup.engines.kubernetes_job.plan import Plan
    from projectsetup.engines.kubernetes_job.ports import Body, JobCluster, JobView
    from projectsetup.engines.kubernetes_job.progress import ProgressReporter
    from projectsetup.engines.kubernetes_job.ref import JobRef
    from projectsetup.setup.scrub import Scrubber

Clock = Callable[[], datetime]

SAFETY: Final = 120.0
"""Seconds without news after which the API server is asked all the same."""
SOON: Final = 5.0
NOW_AND_THEN: Final = 20.0
"""Seconds after which it is asked why the pod does not start: no reason is known, or one that may have changed."""
UNANSWERED: Final = 5.0
"""Seconds until it is asked again when it did not answer."""

SHORTEST_WAIT: Final = 1.0
LATE: Final = timedelta(seconds=30)
"""Added to an attempt's timeout until it is ended here: by then its Job has done so, unless somebody has changed it."""

_log = logging.getLogger("projectsetup.engine")


class Following:
    """One Job, from when it was made. What the view tells is acted on, but an end is asked for that no pod reports."""

    def __init__(
        self,
        cluster: JobCluster,
        view: JobView,
        job: Body,
        *,
        ref: JobRef,
        plan: Plan,
        deadline: datetime,
        scrubber: Scrubber,
        start_limit: float,
        clock: Clock,
        course: Course,
        progress: ProgressReporter,
        log_patience: float,
    ) -> None:
        """`deadline`: when the attempt is ended, whatever its Job says. `log_patience`: seconds that a stage has run
        until its log is followed."""
        self._cluster = cluster
        self._view = view
        self._made = job
        self._ref = ref
        self._deadline = deadline
        self._plan = plan
        self._scrubber = scrubber
        self._start_limit = start_limit
        self._clock = clock
        self._course = course
        self._progress = progress
        self._log_follower = LogFollower(cluster, ref.namespace, self._step_begun, patience=log_patience)
        self._stage: tuple[str, str] | None = None
        self._at_step: str | None = None
        self._events: Sequence[str] = ()

    async def outcome(self) -> SetupOutcome:
        """How the attempt ended; nothing of it is alive then. Raises InfrastructureError and SetupStopped."""
        news = True
        try:
            while not self._course.stopping:
                seen = await (self._ask_at_last() if self._late else self._look() if news else self._ask())
                if isinstance(seen, Over):
                    if isinstance(seen.outcome, SetupFailed):
                        self._failed_at(seen.outcome.step)
                    await self._remove_rest()
                    return seen.outcome
                if isinstance(seen, Unreported):
                    return self._unreported()
                if isinstance(seen, Gone | Tombstone | Broken):
                    return await self._end(self._what_broke(seen))
                if isinstance(seen, Starting) and not self._has_had_pods and exceeds_quota(seen.why):
                    return await self._end(NotStarted(f"no pod can be made: {seen.why}"))
                await self._keep_up(seen)
                news = await self._course.wait(self._patience(seen))
            return await self._end(SetupStopped(f"stopped at step {self._at_step or self._plan.steps[0].name}"))
        finally:
            await self._log_follower.close()

    async def _look(self) -> Sight | None:
        """What the view tells; an end without a report of success is asked for. None when there is no answer."""
        told = self._sight(self._made if self._view.last_job is None else self._view.job, self._view.pods)
        return await self._ask() if isinstance(told, Gone | Tombstone | Unreported | Broken) else told

    async def _ask(self) -> Sight | None:
        """What the API server answers now; None when it does not."""
        try:
            job, pods = await self._ref.read(self._cluster)
            seen = self._sight(job, pods)
            if isinstance(seen, Broken | Starting) and job is not None and not job_has_ended(job):
                uids = [body["metadata"]["uid"] for body in (job, *pods)]
                self._events = await self._cluster.warnings_about(self._ref.namespace, uids)
                seen = self._sight(job, pods)
        except self._cluster.failed as error:
            _log.debug("trying again: %s", error)
            return None
        return seen

    @property
    def _has_had_pods(self) -> bool:
        return bool(self._at_step or self._view.pods or self._view.departed_pods)

    @property
    def _late(self) -> bool:
        return self._clock() >= self._deadline

    async def _ask_at_last(self) -> Sight | None:
        """What the API server answers after the attempt's time; what has no end then is ended here."""
        seen = await self._ask()
        if isinstance(seen, Starting) and self._at_step is None:
            return Broken(end_without_a_start(self._plan, seen.why))
        return Broken(end_by_deadline(self._plan, self._at_step)) if isinstance(seen, Starting | Working) else seen

    def _sight(self, job: Body | None, pods: Sequence[Body]) -> Sight:
        return sight(
            job,
            pods,
            plan=self._plan,
            scrubber=self._scrubber,
            now=self._clock(),
            start_limit=self._start_limit,
            events=self._events,
            at_step=self._at_step,
        )

    async def _keep_up(self, seen: Sight | None) -> None:
        """Tell where the run is, and follow the log of what runs."""
        if not isinstance(seen, Working):
            if seen is not None:
                await self._log_follower.close()
            if isinstance(seen, Starting):
                self._progress.waits(seen.why)
            return
        stage = self._plan.stage(seen.stage)
        if (seen.pod, seen.stage) != self._stage:
            self._stage = (seen.pod, seen.stage)
            self._step_begun(seen.step.name)
        self._progress.waits(None)
        if seen.running and stage is not None:
            await self._log_follower.follow(seen.pod, stage)
        else:
            await self._log_follower.close()

    def _step_begun(self, name: str) -> None:
        self._at_step = name
        update = self._plan.update_at(name)
        if update is not None:
            self._progress.reached(update)

    def _failed_at(self, step: str | None) -> None:
        update = None if step is None else self._plan.update_at(step)
        if update is not None:
            self._progress.ended_at(update)

    async def _end(self, error: InfrastructureError | SetupStopped) -> SetupSucceeded:
        """Raises `error` when nothing of the Job is alive, unless it had succeeded all the same."""
        await self._log_follower.close()
        success = await self._remove(self._success)
        if success is not None:
            await self._remove_rest()
            return success
        if isinstance(error, InfrastructureError):
            self._failed_at(error.step)
        raise error

    async def _remove_rest(self) -> None:
        """Return when nothing goes on that others have added to the pod; its Job is deleted for that."""
        if any(map(may_run, self._view.pods)):
            await self._log_follower.close()
            await self._remove(nothing_known)

    async def _remove(self, success: Success) -> SetupSucceeded | None:
        course, lingers = self._course, self._progress.lingers
        return await remove(self._cluster, self._view, self._ref, course, success=success, on_lingering=lingers)

    def _success(self, job: Body | None, pods: Sequence[Body]) -> SetupSucceeded | None:
        """What the Job came to, if that is a success, although it is being ended."""
        steps = self._plan.containers
        seen = self._sight(job, [pod for pod in pods if pod_has_ended(pod) or pod_is_done(pod, steps)])
        if isinstance(seen, Unreported) and not any(map(may_run, pods)):
            return SetupSucceeded()
        return seen.outcome if isinstance(seen, Over) and isinstance(seen.outcome, SetupSucceeded) else None

    def _unreported(self) -> SetupSucceeded:
        """The report of a pod that was seen before it went, or else a success of which no commits are known."""
        success = self._success(self._made, self._view.departed_pods)
        if success is None:
            _log.warning("Job %s succeeded, but its pod was deleted before its report was read", self._ref)
        return success or SetupSucceeded()

    def _what_broke(self, seen: Gone | Tombstone | Broken) -> InfrastructureError:
        if isinstance(seen, Broken):
            return seen.error
        message = f"Job {self._ref.name} was deleted by somebody else"
        return InfrastructureError(Reason.INTERRUPTED, message, step=self._at_step)

    def _patience(self, seen: Sight | None) -> float:
        """Seconds after which it is asked, should nothing be told."""
        if seen is None:
            return UNANSWERED
        patience = SAFETY if not isinstance(seen, Starting) else SOON if seen.why is None else NOW_AND_THEN
        patience *= random.uniform(0.75, 1.25)  # noqa: S311  # so that not all ask at the same time
        limit = seen.limit if isinstance(seen, Starting) and seen.limit is not None else self._deadline
        left = (min(limit, self._deadline) - self._clock()).total_seconds()
        return min(patience, max(left, SHORTEST_WAIT))
