"""What a Job and its pods tell about an attempt: one function of what the API server says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.liveness import (
    container_statuses,
    is_replaced,
    job_has_ended,
    job_has_succeeded,
    pod_has_ended,
    pod_is_done,
    terminated,
)
from projectsetup.engines.kubernetes_job.manifest import is_tombstone
from projectsetup.engines.kubernetes_job.verdict import end_of_job, end_of_pod
from projectsetup.engines.kubernetes_job.waiting import Wait, wait_for_a_container, wait_for_a_pod
from projectsetup.setup.errors import InfrastructureError
from projectsetup.setup.message import cut

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from projectsetup.engines.kubernetes_job.plan import Plan, PlannedStep
    from projectsetup.engines.kubernetes_job.ports import Body
    from projectsetup.setup.outcome import SetupOutcome
    from projectsetup.setup.scrub import Scrubber

_USED_TOO_MUCH: Final = re.compile(r"exceed(?:s|ed) (?:its|the|total) .*limit")


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no Job."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The Job is a tombstone: the attempt was never started and never will be."""


@dataclass(frozen=True, slots=True)
class Starting:
    """No step runs yet, or not any more because the Job replaces a pod that was taken away.

    `why`: one line for people, or None when nothing is known. `limit`: when it becomes `Broken` if nothing changes, so
    that somebody looks again then; None when it may wait as long as it takes.
    """

    why: str | None
    limit: datetime | None


@dataclass(frozen=True, slots=True)
class Working:
    """Container `stage` of `pod` runs or is about to, and `step` is the first step of it; `completed` are before it.

    Which step of the stage is the current one is told by the log of the container alone.
    """

    pod: str
    stage: str
    step: PlannedStep
    completed: int
    running: bool


@dataclass(frozen=True, slots=True)
class Over:
    """The attempt has an outcome. Its steps have ended; containers that others have added to its pod may go on."""

    outcome: SetupOutcome


@dataclass(frozen=True, slots=True)
class Unreported:
    """All steps are done, but no pod is left to report what they told."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The attempt broke. Something of it may be left, unless its Job is over."""

    error: InfrastructureError


Sight = Gone | Tombstone | Starting | Working | Over | Unreported | Broken


def sight(
    job: Body | None,
    pods: Sequence[Body],
    *,
    plan: Plan,
    scrubber: Scrubber,
    now: datetime,
    start_limit: float,
    events: Sequence[str] = (),
    at_step: str | None = None,
) -> Sight:
    """What the Job and the pods that belong to it mean.

    `start_limit`: seconds that a pod may take to start. `events`: messages of the newest warnings about the Job and its
    pods, newest first. `at_step`: the step that the log has told of last.

    Success is told by a pod that succeeded and reports of all its steps, or else by a Job that no longer has any pod;
    whatever is not understood is Broken.
    """
    if job is None:
        return Gone()
    if is_tombstone(job):
        return Tombstone()
    ended = _ended(job, pods, plan=plan, scrubber=scrubber, at_step=at_step, why_not_started=next(iter(events), None))
    if ended is not None:
        return ended
    standing = [pod for pod in pods if not is_replaced(pod)]
    if not standing:
        return _starting(wait_for_a_pod(job, events, start_limit, pods), now, start_limit)
    pod = max(standing, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    working, wait = _in_pod(pod, plan, events, start_limit)
    return working or _starting(wait, now, start_limit)


def _ended(
    job: Body,
    pods: Sequence[Body],
    *,
    plan: Plan,
    scrubber: Scrubber,
    at_step: str | None,
    why_not_started: str | None,
) -> Over | Unreported | Broken | None:
    """How the attempt ended, as a pod tells it that was not taken away, or else the Job."""
    for pod in pods:
        if (fault := _own_fault(pod)) is not None:
            return Broken(InfrastructureError(Reason.STEP_KILLED, fault, step=at_step))
    for pod in pods:
        if (pod_has_ended(pod) or pod_is_done(pod, plan.containers)) and not is_replaced(pod):
            end = end_of_pod(job, pod, plan=plan, scrubber=scrubber, at_step=at_step)
            if not isinstance(end, InfrastructureError):
                return Over(end)
            if end.reason is not Reason.INTERRUPTED or job_has_ended(job):
                return Broken(end)  # why a pod was deleted is told by its Job, a moment later
    if job_has_succeeded(job) and all(map(is_replaced, pods)):
        return Unreported()
    return Broken(end_of_job(job, plan, at_step, why_not_started)) if job_has_ended(job) else None


def _starting(wait: Wait, now: datetime, start_limit: float) -> Starting | Broken:
    error = wait.too_long(now, start_limit)
    return Starting(wait.why, wait.limit) if error is None else Broken(error)


def _in_pod(pod: Body, plan: Plan, events: Sequence[str], start_limit: float) -> tuple[Working | None, Wait]:
    """Which container runs, or is about to; and what is waited for if none is."""
    told = container_statuses(pod)
    containers = [told[stage.name] for stage in plan.stages if stage.name in told]
    wait = wait_for_a_container(pod, events, start_limit, containers)
    completed = 0
    for stage in plan.stages:
        container = told.get(stage.name, {})
        end = terminated(container)
        if end is None or end.get("exitCode") != 0 or stage is plan.stages[-1]:
            running = "running" in (container.get("state") or {})
            if running or end is not None or (completed and wait.why is None):
                return Working(pod["metadata"]["name"], stage.name, stage.steps[0], completed, running), wait
            return None, wait
        completed += len(stage.steps)
    raise AssertionError("a plan has a last stage")


def _own_fault(pod: Body) -> str | None:
    """What a pod was evicted for that would happen to the next one too: it used more than its recipe allows."""
    status = pod.get("status") or {}
    message = str(status.get("message") or "")
    if status.get("reason") == "Evicted" and _USED_TOO_MUCH.search(message):
        return cut(f"the attempt used more than its recipe allows: {' '.join(message.split())}")
    return None
