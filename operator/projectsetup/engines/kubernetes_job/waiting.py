"""Why no step of a Job runs, and until when that may last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from projectsetup.api.durations import format_duration
from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.liveness import pod_has_ended, terminated, true_conditions
from projectsetup.setup.errors import InfrastructureError
from projectsetup.setup.message import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from projectsetup.engines.kubernetes_job.ports import Body

ON_ITS_WAY: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons of a container that waits and for which nobody has to do anything."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One line for people that says why, None when nothing is told; `limit`: when it has lasted too long."""

    why: str | None
    limit: datetime | None

    def too_long(self, now: datetime, start_limit: float) -> InfrastructureError | None:
        """The end of an attempt whose pod does not start; None while it may still."""
        if self.limit is None or now < self.limit:
            return None
        allowed = format_duration(timedelta(seconds=start_limit))
        why = self.why or "no reason is told"
        return InfrastructureError(Reason.ENGINE_ERROR, cut(f"the pod did not start within {allowed}: {why}"))


def exceeds_quota(why: str | None) -> bool:
    """Whether this is what the API server says when a quota of the namespace leaves no room for a pod."""
    return why is not None and "exceeded quota: " in why


def wait_for_a_pod(job: Body, events: Sequence[str], start_limit: float, taken_away: Sequence[Body]) -> Wait:
    """The Job has no pod that stands."""
    if (job.get("spec") or {}).get("suspend"):
        return Wait("the Job is suspended until its queue admits it", None)
    lost = max((pod["metadata"].get("deletionTimestamp") or "" for pod in taken_away), default="")
    if not all(map(pod_has_ended, taken_away)):
        return Wait(_why_taken(taken_away), None)  # on a node that does not answer: as long as it takes
    begun = lost or (job.get("status") or {}).get("startTime") or job["metadata"].get("creationTimestamp")
    why = next(iter(events), None) or (_why_taken(taken_away) if taken_away else None)
    return Wait(why, _limit(begun, start_limit))


def wait_for_a_container(pod: Body, events: Sequence[str], start_limit: float, containers: Sequence[Body]) -> Wait:
    """The pod stands and none of its containers runs; `containers` are what the kubelet tells of them."""
    told = [*_unscheduled(pod), *_stuck(containers), *events]
    ends = [end["finishedAt"] for end in map(terminated, containers) if end is not None and end.get("finishedAt")]
    begun = max(ends, default=pod["metadata"].get("creationTimestamp"))
    return Wait(told[0] if told else None, _limit(begun, start_limit))


def _unscheduled(pod: Body) -> Iterator[str]:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield f"{condition.get('reason')}: {condition.get('message')}"


def _stuck(containers: Sequence[Body]) -> Iterator[str]:
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in ON_ITS_WAY:
            said = waiting.get("message")
            yield f"{waiting['reason']}: {said}" if said else f"{waiting['reason']} of image {container.get('image')}"


def _why_taken(pods: Sequence[Body]) -> str:
    for pod in pods:
        for condition in true_conditions(pod):
            if condition.get("type") == "DisruptionTarget":
                return f"the pod was taken away ({condition.get('reason')}): {condition.get('message')}"
    return "the pod was taken away"


def _limit(begun: str | None, start_limit: float) -> datetime | None:
    return None if begun is None else datetime.fromisoformat(begun) + timedelta(seconds=start_limit)
