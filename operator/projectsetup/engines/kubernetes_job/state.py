"""The state of an attempt: a pure function of its Job and pods, as the API server returns them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from projectsetup.api.durations import format_duration
from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.manifest import is_tombstone
from projectsetup.engines.kubernetes_job.objects import (
    container_statuses,
    job_has_ended,
    job_has_succeeded,
    only_sidecars_run,
    pod_has_ended,
    termination,
    true_conditions,
    was_disrupted,
)
from projectsetup.engines.kubernetes_job.outcome import job_failure, pod_outcome
from projectsetup.setup.outcome import cut
from projectsetup.setup.types import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from projectsetup.engines.kubernetes_job.client import Body
    from projectsetup.engines.kubernetes_job.plan import Plan, PlannedStep
    from projectsetup.setup.scrub import Scrubber
    from projectsetup.setup.types import SetupOutcome

_EXCEEDED_LIMIT: Final = re.compile(r"exceed(?:s|ed) (?:its|the|total) .*limit")
_NORMAL_WAITS: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons of a waiting container that call for no action."""


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no Job."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The Job is a tombstone: the attempt was never started and never will be."""


@dataclass(frozen=True, slots=True)
class Starting:
    """No step runs yet, or none any more because the Job replaces a disrupted pod.

    `why`: one line for people, None if no reason is known. `limit`: when this becomes `Broken` if nothing changes; None
    if it may last.
    """

    why: str | None
    limit: datetime | None


@dataclass(frozen=True, slots=True)
class Running:
    """Container `stage` of `pod` runs or is about to; `step` is its first step, `completed` steps come before it.

    Only the log of the container shows which step of the stage is the current one.
    """

    pod: str
    stage: str
    step: PlannedStep
    completed: int
    running: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt has an outcome. Its steps have ended; containers that others added to its pod may still run."""

    outcome: SetupOutcome


@dataclass(frozen=True, slots=True)
class Unreported:
    """All steps succeeded, but no pod is left to report their facts."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The attempt broke. Parts of it may still run, unless its Job has ended."""

    error: InfrastructureError


JobState = Gone | Tombstone | Starting | Running | Ended | Unreported | Broken


def job_state(
    job: Body | None,
    pods: Sequence[Body],
    *,
    plan: Plan,
    scrubber: Scrubber,
    now: datetime,
    start_limit: float,
    warnings: Sequence[str] = (),
    at_step: str | None = None,
) -> JobState:
    """Return the state that the Job and its pods are in.

    `start_limit`: seconds that a pod may take to start. `warnings`: texts of the warning events about the Job and its
    pods, newest first. `at_step`: the last step that the log announced.

    Only a pod that succeeded and reported all its steps proves success, or a Job that succeeded and has no pod left.
    Whatever is not understood is Broken.
    """
    if job is None:
        return Gone()
    if is_tombstone(job):
        return Tombstone()
    why_not_started = next(iter(warnings), None)
    ended = _ended(job, pods, plan=plan, scrubber=scrubber, at_step=at_step, why_not_started=why_not_started)
    if ended is not None:
        return ended
    standing = [pod for pod in pods if not was_disrupted(pod)]
    if not standing:
        return _starting(_wait_for_pod(job, warnings, start_limit, pods), now, start_limit)
    pod = max(standing, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    wait = _wait_for_container(pod, plan, warnings, start_limit)
    return _running(pod, plan, wait) or _starting(wait, now, start_limit)


def exceeds_quota(why: str | None) -> bool:
    """Whether the API server rejects pods because of a quota of the namespace."""
    return why is not None and "exceeded quota: " in why


def _ended(
    job: Body,
    pods: Sequence[Body],
    *,
    plan: Plan,
    scrubber: Scrubber,
    at_step: str | None,
    why_not_started: str | None,
) -> Ended | Unreported | Broken | None:
    """How the attempt ended, according to a pod that was not disrupted, or else to the Job."""
    for pod in pods:
        if (why := _exceeded_limit(pod)) is not None:
            return Broken(InfrastructureError(Reason.STEP_KILLED, why, step=at_step))
    for pod in pods:
        if (pod_has_ended(pod) or only_sidecars_run(pod, plan.containers)) and not was_disrupted(pod):
            end = pod_outcome(job, pod, plan=plan, scrubber=scrubber, at_step=at_step)
            if not isinstance(end, InfrastructureError):
                return Ended(end)
            if end.reason is not Reason.INTERRUPTED or job_has_ended(job):
                return Broken(end)  # a moment later the Job has a condition that says why its pod was deleted
    if job_has_succeeded(job) and all(map(was_disrupted, pods)):
        return Unreported()
    return Broken(job_failure(job, plan, at_step, why_not_started)) if job_has_ended(job) else None


def _exceeded_limit(pod: Body) -> str | None:
    """Why a pod was evicted that used more than its recipe allows, as its replacement would."""
    status = pod.get("status") or {}
    message = str(status.get("message") or "")
    if status.get("reason") == "Evicted" and _EXCEEDED_LIMIT.search(message):
        return cut(f"the attempt used more than its recipe allows: {' '.join(message.split())}")
    return None


def _running(pod: Body, plan: Plan, wait: _Wait) -> Running | None:
    """The stage that runs or is about to; None if the first one waits, or a later one for a known reason."""
    statuses = container_statuses(pod)
    completed = 0
    for stage in plan.stages:
        status = statuses.get(stage.name, {})
        end = termination(status)
        if end is None or end.get("exitCode") != 0 or stage is plan.stages[-1]:
            running = "running" in (status.get("state") or {})
            if running or end is not None or (completed and wait.why is None):
                return Running(pod["metadata"]["name"], stage.name, stage.steps[0], completed, running)
            return None
        completed += len(stage.steps)
    raise AssertionError("a plan has a last stage")


@dataclass(frozen=True, slots=True)
class _Wait:
    """Why no step runs, and how long that may last; see `Starting`."""

    why: str | None
    limit: datetime | None


def _starting(wait: _Wait, now: datetime, start_limit: float) -> Starting | Broken:
    if wait.limit is None or now < wait.limit:
        return Starting(wait.why, wait.limit)
    allowed = format_duration(timedelta(seconds=start_limit))
    why = f"the pod did not start within {allowed}: {wait.why or 'no reason given'}"
    return Broken(InfrastructureError(Reason.ENGINE_ERROR, cut(why)))


def _wait_for_pod(job: Body, warnings: Sequence[str], start_limit: float, disrupted: Sequence[Body]) -> _Wait:
    """The Job has no pod, or only `disrupted` ones."""
    if (job.get("spec") or {}).get("suspend"):
        return _Wait("the Job is suspended until its queue admits it", None)
    lost = max((pod["metadata"].get("deletionTimestamp") or "" for pod in disrupted), default="")
    if not all(map(pod_has_ended, disrupted)):
        return _Wait(_why_disrupted(disrupted), None)  # a node that does not answer may take any time
    since = lost or (job.get("status") or {}).get("startTime") or job["metadata"].get("creationTimestamp")
    why = next(iter(warnings), None) or (_why_disrupted(disrupted) if disrupted else None)
    return _Wait(why, _limit(since, start_limit))


def _wait_for_container(pod: Body, plan: Plan, warnings: Sequence[str], start_limit: float) -> _Wait:
    """The pod exists, and none of the stages' containers runs."""
    statuses = container_statuses(pod)
    containers = [statuses[name] for name in plan.containers if name in statuses]
    reasons = [*_unscheduled(pod), *_stuck(containers), *warnings]
    ends = [end["finishedAt"] for end in map(termination, containers) if end is not None and end.get("finishedAt")]
    since = max(ends, default=pod["metadata"].get("creationTimestamp"))
    return _Wait(reasons[0] if reasons else None, _limit(since, start_limit))


def _unscheduled(pod: Body) -> Iterator[str]:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield f"{condition.get('reason')}: {condition.get('message')}"


def _stuck(containers: Sequence[Body]) -> Iterator[str]:
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _NORMAL_WAITS:
            why = waiting.get("message")
            yield f"{waiting['reason']}: {why}" if why else f"{waiting['reason']} of image {container.get('image')}"


def _why_disrupted(pods: Sequence[Body]) -> str:
    for pod in pods:
        for condition in true_conditions(pod):
            if condition.get("type") == "DisruptionTarget":
                return f"the cluster took the pod away ({condition.get('reason')}): {condition.get('message')}"
    return "the cluster took the pod away"


def _limit(since: str | None, start_limit: float) -> datetime | None:
    return None if since is None else datetime.fromisoformat(since) + timedelta(seconds=start_limit)
