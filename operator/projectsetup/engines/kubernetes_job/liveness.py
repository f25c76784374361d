"""Whether anything of a Job is alive, or may come to life."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.ports import Body

SETTLED: Final = 10.0
"""Seconds after which the Job controller knows that a Job is being deleted, and makes no pod of it any more."""

_ENDINGS: Final = frozenset({"Complete", "SuccessCriteriaMet", "Failed", "FailureTarget"})
"""Conditions of a Job that starts no other pod; the targets come first, while its pods end."""


def job_has_ended(job: Body) -> bool:
    """Whether the Job starts no other pod, whatever becomes of those it has."""
    return any(_is_true(job, kind) for kind in _ENDINGS)


def job_has_succeeded(job: Body) -> bool:
    """Whether one of its pods ended with exit code 0, as did each of the containers before the last."""
    return _is_true(job, "Complete") or _is_true(job, "SuccessCriteriaMet")


def pod_has_ended(pod: Body) -> bool:
    """Whether none of its containers runs or will."""
    return _phase(pod) in {"Succeeded", "Failed"}


def container_statuses(pod: Body) -> dict[str, Body]:
    """What the kubelet tells of each container of the pod, by name."""
    status = pod.get("status") or {}
    told = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return {container["name"]: container for container in told}


def terminated(container: Body | None) -> Body | None:
    """How a container ended; None when it has not."""
    return ((container or {}).get("state") or {}).get("terminated")


def pod_is_done(pod: Body, stages: Sequence[str]) -> bool:
    """Whether the containers of the stages have ended in a pod that goes on, since others were added to it."""
    told = container_statuses(pod)
    going_on = {name for name, container in told.items() if terminated(container) is None}
    return bool(going_on) and going_on.isdisjoint(stages) and stages[-1] in told


def may_run(pod: Body) -> bool:
    """Whether a container of the pod runs, or may still. One that is deleted before it has a node never will."""
    return not (pod_has_ended(pod) or (is_leaving(pod) and not pod["spec"].get("nodeName")))


def is_replaced(pod: Body) -> bool:
    """Whether the pod was taken away by the cluster, which its Job does not take for an end."""
    return _phase(pod) != "Succeeded" and _is_true(pod, "DisruptionTarget")


def is_spent(job: Body, pods: Sequence[Body]) -> bool:
    """Whether nothing of the Job is alive or will be, as these pods tell, which are all it has or fewer."""
    if any(map(may_run, pods)):
        return False
    return job_has_ended(job) or any(not is_replaced(pod) for pod in pods)


def is_leaving(body: Body) -> bool:
    """Whether its deletion was asked for."""
    return body["metadata"].get("deletionTimestamp") is not None


class Deletions:
    """Which Jobs count as gone although they are still there: deleted, and kept by a finalizer of somebody else."""

    def __init__(self) -> None:
        self._quiet_since: dict[str, float] = {}

    def has_gone(self, job: Body, pods: Sequence[Body]) -> bool:
        """Whether the Job is being deleted and has been seen without a pod that may run for some time."""
        uid = job["metadata"]["uid"]
        if not is_leaving(job) or any(map(may_run, pods)):
            self._quiet_since.pop(uid, None)
            return False
        now = asyncio.get_running_loop().time()
        return now - self._quiet_since.setdefault(uid, now) >= SETTLED


def _phase(pod: Body) -> str | None:
    return (pod.get("status") or {}).get("phase")


def true_conditions(body: Body) -> Iterator[Body]:
    """The conditions of a Job or a pod that hold."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return (condition for condition in conditions if condition.get("status") == "True")


def _is_true(body: Body, kind: str) -> bool:
    return any(condition.get("type") == kind for condition in true_conditions(body))
