"""Jobs and pods as the API server stores them: who owns them, and whether anything of them runs or may run.

Only uids and controllers identify the owner of an object; anybody may write names and labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from projectsetup.api.constants import GROUP, KIND, controller_of, controller_uid

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.client import Body, JobClient

_END_CONDITIONS: Final = frozenset({"Complete", "SuccessCriteriaMet", "Failed", "FailureTarget"})
"""Conditions of a Job that starts no other pod; SuccessCriteriaMet and FailureTarget come first, while pods end."""


@dataclass(frozen=True, slots=True)
class JobRef:
    """One Job; another one of the same name has another uid."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, job: Body) -> Self:
        """Refer to this Job."""
        metadata = job["metadata"]
        return cls(metadata["namespace"], metadata["name"], metadata["uid"])

    async def read(self, client: JobClient) -> tuple[Body | None, Sequence[Body]]:
        """Return the Job as stored, None if it is gone, and the pods that it controls."""
        job = await client.get_job(self.namespace, self.name)
        found = job if job is not None and job["metadata"]["uid"] == self.uid else None
        return found, await client.pods_of(self.namespace, self.uid)

    async def delete(self, client: JobClient) -> None:
        """Request the deletion of this Job, and of no other Job of the same name."""
        await client.delete_job(self.namespace, self.name, self.uid)


def owner_name(job: Body) -> str | None:
    """Return the name of the ProjectSetup that controls the Job; None if none does."""
    controller = controller_of(job)
    if controller is None or controller.get("kind") != KIND:
        return None
    return controller.get("name") if str(controller.get("apiVersion")).partition("/")[0] == GROUP else None


def is_owned_by(job: Body, uid: str) -> bool:
    """Whether the ProjectSetup with this uid controls the Job."""
    return owner_name(job) is not None and controller_uid(job) == uid


def is_being_deleted(body: Body) -> bool:
    """Whether the deletion of the Job or pod was requested."""
    return body["metadata"].get("deletionTimestamp") is not None


def job_has_ended(job: Body) -> bool:
    """Whether the Job starts no other pod, whatever becomes of those it has."""
    return any(_has_condition(job, kind) for kind in _END_CONDITIONS)


def job_has_succeeded(job: Body) -> bool:
    """Whether all containers of one of its pods ended with exit code 0."""
    return _has_condition(job, "Complete") or _has_condition(job, "SuccessCriteriaMet")


def pod_has_ended(pod: Body) -> bool:
    """Whether none of its containers runs or will run."""
    return _phase(pod) in {"Succeeded", "Failed"}


def may_run(pod: Body) -> bool:
    """Whether a container of the pod runs, or still may. A pod that is deleted before it has a node never will."""
    return not (pod_has_ended(pod) or (is_being_deleted(pod) and not pod["spec"].get("nodeName")))


def was_disrupted(pod: Body) -> bool:
    """Whether the cluster took the pod away, so that its Job replaces it."""
    return _phase(pod) != "Succeeded" and _has_condition(pod, "DisruptionTarget")


def is_finished(job: Body, pods: Sequence[Body]) -> bool:
    """Whether nothing of the Job runs or will run. `pods` are those it has, or some of them."""
    if any(map(may_run, pods)):
        return False
    return job_has_ended(job) or any(not was_disrupted(pod) for pod in pods)


def container_statuses(pod: Body) -> dict[str, Body]:
    """Return the kubelet's status of each container of the pod, by name."""
    status = pod.get("status") or {}
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return {container["name"]: container for container in statuses}


def termination(container: Body | None) -> Body | None:
    """Return how a container ended; None if it has not."""
    return ((container or {}).get("state") or {}).get("terminated")


def only_sidecars_run(pod: Body, stages: Sequence[str]) -> bool:
    """Whether the containers of all stages have ended, and containers that others added keep the pod running."""
    statuses = container_statuses(pod)
    running = {name for name, container in statuses.items() if termination(container) is None}
    return bool(running) and running.isdisjoint(stages) and stages[-1] in statuses


def true_conditions(body: Body) -> Iterator[Body]:
    """Yield the conditions of a Job or pod whose status is True."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return (condition for condition in conditions if condition.get("status") == "True")


def _has_condition(body: Body, kind: str) -> bool:
    return any(condition.get("type") == kind for condition in true_conditions(body))


def _phase(pod: Body) -> str | None:
    return (pod.get("status") or {}).get("phase")
