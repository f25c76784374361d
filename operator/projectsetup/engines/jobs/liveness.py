"""Whether anything of a Job is alive, or may come to life."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from projectsetup.engines.jobs.ports import Body

JobKey = tuple[str, str]

OF_JOB: Final = "batch.kubernetes.io/job-name"
"""The label by which the Job controller tells whose a pod is."""

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


def is_replaced(pod: Body) -> bool:
    """Whether the pod was taken away by the cluster, which its Job does not take for an end."""
    return _phase(pod) != "Succeeded" and _is_true(pod, "DisruptionTarget")


def is_spent(job: Body, pods: Sequence[Body]) -> bool:
    """Whether nothing of the Job is alive or will be, as these pods tell, which are all it has or fewer."""
    if not all(map(pod_has_ended, pods)):
        return False
    return job_has_ended(job) or any(not is_replaced(pod) for pod in pods)


def is_leaving(body: Body) -> bool:
    """Whether its deletion was asked for."""
    return body["metadata"].get("deletionTimestamp") is not None


def job_of(pod: Body) -> JobKey | None:
    """Namespace and name of the Job that the pod belongs to."""
    name = (pod["metadata"].get("labels") or {}).get(OF_JOB)
    return (pod["metadata"]["namespace"], name) if name else None


def key_of(job: Body) -> JobKey:
    """Namespace and name of the Job."""
    return job["metadata"]["namespace"], job["metadata"]["name"]


def _phase(pod: Body) -> str | None:
    return (pod.get("status") or {}).get("phase")


def true_conditions(body: Body) -> Iterator[Body]:
    """The conditions of a Job or a pod that hold."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return (condition for condition in conditions if condition.get("status") == "True")


def _is_true(body: Body, kind: str) -> bool:
    return any(condition.get("type") == kind for condition in true_conditions(body))
