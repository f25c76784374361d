"""Monitors a Job until its attempt has ended, and reports its progress."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.lifecycle import FindSuccess, delete_job, no_success
from projectsetup.engines.kubernetes_job.logs import LogReader
from projectsetup.engines.kubernetes_job.objects import job_has_ended, may_run, only_sidecars_run, pod_has_ended
from projectsetup.engines.kubernetes_job.outcome import deadline_exceeded, not_started
from projectsetup.engines.kubernetes_job.state import (
    Broken,
    Ended,
    Gone,
    JobState,
    Running,
    Starting,
    Tombstone,
    Unreported,
    exceeds_quota,
    job_state,
)
from projectsetup.setup.types import (
    InfrastructureError,
    NotStarted,
    SetupFailed,
    SetupOutcome,
    SetupStopped,
    SetupSucceeded,
)

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.client import Body, JobClient, JobView
    from projectsetup.engines.kubernetes_job.objects import JobRef
    from projectsetup.engines.kubernetes_job.plan import Plan
    from projectsetup.engines.kubernetes_job.run_control import RunControl
    from projectsetup.setup.log import AttemptLog
    from projectsetup.setup.types import Progress, ProgressCallback

Clock = Callable[[], datetime]

CHECK_AFTER: Final = 120.0
"""Seconds without a change after which the API server is asked anyway."""
CHECK_UNKNOWN: Final = 5.0
CHECK_KNOWN: Final = 20.0
"""Seconds after which it is asked why the pod does not start: no reason is known, or one that may have changed."""
CHECK_UNANSWERED: Final = 5.0
"""Seconds until it is asked again when it did not answer."""
MIN_WAIT: Final = 1.0
LATE: Final = timedelta(seconds=30)
"""Added to an attempt's timeout: by then its Job has ended it, unless somebody has changed the Job."""

SETTLE: Final = 0.5
"""Seconds that a step lasts at least before it is reported, so that a quick recipe causes no writes."""
MAX_SILENCE: Final = 2.0
"""Seconds after which something is reported anyway, when one quick step follows another."""

_log = logging.getLogger("projectsetup.engine")


class ProgressReporter:
    """Reports progress once it has lasted for a moment, unless it is what was `reported` last."""

    def __init__(self, report: ProgressCallback, reported: Progress | None) -> None:
        self._report = report
        self._reported = reported
        self._latest = reported
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def reached(self, progress: Progress) -> None:
        """The attempt is at this step now."""
        if progress == self._latest:
            return
        self._latest = progress
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._due = loop.time() + MAX_SILENCE
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(loop.time() + SETTLE, self._due), self._flush)

    def waits_for(self, why: str | None) -> None:
        """The attempt waits, for this reason if one is known; None: it does not wait."""
        if self._latest is not None:
            self.reached(replace(self._latest, waits_for=why))

    def lingers(self, why: str) -> None:
        """The attempt was stopped, and some of it does not go away."""
        if self._latest is not None:
            self.reached(replace(self._latest, waits_for=why, lingers=True))

    def failed_at(self, progress: Progress) -> None:
        """The attempt failed at this step, which is reported at once, however short it was."""
        self.close()
        self._latest = progress
        self._flush()

    def close(self) -> None:
        """Report nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _flush(self) -> None:
        self._timer = None
        if self._latest is not None and self._latest != self._reported:
            self._reported = self._latest
            self._report(self._latest)


@dataclass(frozen=True, slots=True)
class Monitored:
    """A Job that exists, and what the monitor needs to know of its attempt.

    `created` is the Job as first seen. At `deadline` the attempt is ended, whatever the state of its Job.
    `unread_secret` is the Secret of the attempt if the operator does not know its values. `log_delay`: seconds that a
    container runs before its log is followed.
    """

    ref: JobRef
    created: Body
    plan: Plan
    deadline: datetime
    start_limit: float
    log: AttemptLog
    unread_secret: str | None
    log_delay: float


class JobMonitor:
    """Monitors one Job. It acts on what the view shows, but confirms with the API server an end that no pod reports."""

    def __init__(
        self,
        client: JobClient,
        view: JobView,
        monitored: Monitored,
        *,
        clock: Clock,
        control: RunControl,
        reporter: ProgressReporter,
    ) -> None:
        self._client = client
        self._view = view
        self._job = monitored
        self._ref = monitored.ref
        self._plan = monitored.plan
        self._clock = clock
        self._control = control
        self._reporter = reporter
        self._logs = LogReader(
            client,
            monitored.ref.namespace,
            monitored.plan,
            monitored.log,
            self._step_began,
            delay=monitored.log_delay,
            secret=monitored.unread_secret,
        )
        self._stage: tuple[str, str] | None = None
        self._at_step: str | None = None
        self._warnings: Sequence[str] = ()

    async def outcome(self) -> SetupOutcome:
        """Return how the attempt ended, once nothing of it runs. Raises InfrastructureError and SetupStopped."""
        changed = True
        try:
            while not self._control.stopping:
                state = await self._current_state(changed=changed)
                if isinstance(state, Ended):
                    if isinstance(state.outcome, SetupFailed):
                        self._failed_at(state.outcome.step)
                    await self._logs.finish()
                    await self._delete_remains()
                    return state.outcome
                if isinstance(state, Unreported):
                    await self._logs.finish()
                    return self._unreported()
                if isinstance(state, Gone | Tombstone | Broken):
                    return await self._end(self._failure(state))
                if isinstance(state, Starting) and not self._has_had_pods and exceeds_quota(state.why):
                    return await self._end(NotStarted(f"cannot create a pod: {state.why}"))
                self._report(state)
                changed = await self._control.wait(self._wait_limit(state))
            return await self._end(SetupStopped(f"stopped at step {self._at_step or self._plan.steps[0].name}"))
        finally:
            await self._logs.close()

    async def _current_state(self, *, changed: bool) -> JobState | None:
        """None if the API server was asked and did not answer."""
        if self._clock() >= self._job.deadline:
            return await self._state_after_deadline()
        if not changed:
            return await self._stored_state()
        job = self._job.created if self._view.last_job is None else self._view.job
        self._logs.see(self._view.pods, self._view.deleted_pods)
        seen = self._state(job, self._view.pods)
        return await self._stored_state() if isinstance(seen, Gone | Tombstone | Unreported | Broken) else seen

    async def _stored_state(self) -> JobState | None:
        """The state according to the API server; None if it does not answer."""
        try:
            job, pods = await self._ref.read(self._client)
            self._logs.see(pods, self._view.deleted_pods)
            state = self._state(job, pods)
            if isinstance(state, Broken | Starting) and job is not None and not job_has_ended(job):
                uids = [body["metadata"]["uid"] for body in (job, *pods)]
                self._warnings = await self._client.warnings_about(self._ref.namespace, uids)
                state = self._state(job, pods)
        except self._client.failed as error:
            _log.debug("retrying: %s", error)
            return None
        return state

    async def _state_after_deadline(self) -> JobState | None:
        """The attempt's time has run out: whatever has not ended is broken."""
        state = await self._stored_state()
        if isinstance(state, Starting) and self._at_step is None:
            return Broken(not_started(self._plan, state.why))
        return Broken(deadline_exceeded(self._plan, self._at_step)) if isinstance(state, Starting | Running) else state

    def _state(self, job: Body | None, pods: Sequence[Body]) -> JobState:
        return job_state(
            job,
            pods,
            plan=self._plan,
            scrubber=self._job.log.scrubber,
            now=self._clock(),
            start_limit=self._job.start_limit,
            warnings=self._warnings,
            at_step=self._at_step,
        )

    @property
    def _has_had_pods(self) -> bool:
        return bool(self._at_step or self._view.pods or self._view.deleted_pods)

    def _report(self, state: Starting | Running | None) -> None:
        if not isinstance(state, Running):
            if state is not None:
                self._reporter.waits_for(state.why)
            return
        if (state.pod, state.stage) != self._stage:
            self._stage = (state.pod, state.stage)
            self._step_began(state.step.name)
        self._reporter.waits_for(None)

    def _step_began(self, name: str) -> None:
        self._at_step = name
        progress = self._plan.progress_at(name)
        if progress is not None:
            self._reporter.reached(progress)

    def _failed_at(self, step: str | None) -> None:
        progress = None if step is None else self._plan.progress_at(step)
        if progress is not None:
            self._reporter.failed_at(progress)

    async def _end(self, error: InfrastructureError | SetupStopped) -> SetupSucceeded:
        """Raise `error` once nothing of the Job runs, unless it has succeeded anyway."""
        self._logs.hurry()
        success = await self._delete(self._success)
        await self._logs.finish()
        if success is not None:
            await self._delete_remains()
            return success
        if isinstance(error, InfrastructureError):
            self._failed_at(error.step)
        raise error

    async def _delete_remains(self) -> None:
        """If containers that others added to the pod still run, delete the Job and wait for their end."""
        if any(map(may_run, self._view.pods)):
            await self._delete(no_success)

    async def _delete(self, find_success: FindSuccess) -> SetupSucceeded | None:
        lingers = self._reporter.lingers
        return await delete_job(
            self._client, self._view, self._ref, self._control, find_success=find_success, on_lingering=lingers
        )

    def _success(self, job: Body | None, pods: Sequence[Body]) -> SetupSucceeded | None:
        """The outcome of a Job that is being deleted, if it is a success."""
        self._logs.see(pods, self._view.deleted_pods)
        stages = self._plan.containers
        state = self._state(job, [pod for pod in pods if pod_has_ended(pod) or only_sidecars_run(pod, stages)])
        if isinstance(state, Unreported) and not any(map(may_run, pods)):
            return SetupSucceeded()
        return state.outcome if isinstance(state, Ended) and isinstance(state.outcome, SetupSucceeded) else None

    def _unreported(self) -> SetupSucceeded:
        """What a pod reported before it was deleted, or else a success whose commits are unknown."""
        success = self._success(self._job.created, self._view.deleted_pods)
        if success is None:
            _log.warning("Job %s succeeded, but its pod was deleted before its report was read", self._ref)
        return success or SetupSucceeded()

    def _failure(self, state: Gone | Tombstone | Broken) -> InfrastructureError:
        if isinstance(state, Broken):
            return state.error
        message = f"Job {self._ref.name} was deleted by somebody else"
        return InfrastructureError(Reason.INTERRUPTED, message, step=self._at_step)

    def _wait_limit(self, state: Starting | Running | None) -> float:
        """Seconds after which the API server is asked if nothing changes."""
        if state is None:
            return CHECK_UNANSWERED
        limit = self._job.deadline
        if not isinstance(state, Starting):
            seconds = CHECK_AFTER
        else:
            seconds = CHECK_UNKNOWN if state.why is None else CHECK_KNOWN
            limit = min(state.limit or limit, limit)
        seconds *= random.uniform(0.75, 1.25)  # noqa: S311  # jitter, so that not all ask at the same time
        return min(seconds, max((limit - self._clock()).total_seconds(), MIN_WAIT))
