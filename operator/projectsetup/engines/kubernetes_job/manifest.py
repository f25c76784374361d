"""The manifests of Jobs: that of an attempt, and the tombstone that takes the name of one."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from projectsetup.api.constants import ANNOTATION_PREFIX, API_VERSION, KIND
from projectsetup.engines.kubernetes_job.plan import PLAN, Plan
from projectsetup.engines.kubernetes_job.pod import attempt_pod, hardened_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projectsetup.engines.base import Adoption, AttemptSpec
    from projectsetup.engines.kubernetes_job.pod import PodSettings

Manifest = dict[str, Any]

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
COMPONENT: Final = "app.kubernetes.io/component"
PROJECT: Final = ANNOTATION_PREFIX + "project"
ATTEMPT: Final = ANNOTATION_PREFIX + "attempt"
FENCE: Final = ANNOTATION_PREFIX + "fence"
TOMBSTONE: Final = ANNOTATION_PREFIX + "tombstone"
QUEUE: Final = "kueue.x-k8s.io/queue-name"

OURS: Final = {MANAGED_BY: "projectsetup-operator", COMPONENT: "attempt"}
"""The labels of every Job and pod of this engine."""

SELECTOR: Final = ",".join(f"{key}={value}" for key, value in OURS.items())
"""The label selector for them."""

_MAX_SECONDS: Final = 2**31 - 1


def job_manifest(attempt: AttemptSpec, settings: PodSettings, *, waited: float = 0.0) -> Manifest:
    """Return the Job that runs the attempt: one pod at a time, which is replaced only if the cluster disrupts it.

    `waited`: seconds of the attempt's time that have passed already.
    """
    labels = _labels(attempt.project.id, attempt.number, attempt.fence)
    plan = Plan.of(attempt.recipe, attempt.timeout).written()
    metadata = _metadata(attempt.run_name, labels, attempt) | {"annotations": {PLAN: plan}}
    spec = {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "activeDeadlineSeconds": min(max(ceil(attempt.timeout - waited), 1), _MAX_SECONDS),
        "ttlSecondsAfterFinished": settings.ttl,
        "template": {
            "metadata": {"labels": {**settings.labels, **labels}, "annotations": dict(settings.annotations)},
            "spec": attempt_pod(attempt, settings),
        },
    }
    if settings.queue is not None:
        metadata["labels"] = {**labels, QUEUE: settings.queue}
        spec["suspend"] = True
    return _job(metadata, spec)


def tombstone(attempt: AttemptSpec | Adoption) -> Manifest:
    """Return a Job that never runs and takes the name of a Job that was never seen.

    Once it exists, a create request that a dead operator had sent can no longer succeed.
    """
    labels = _labels(attempt.project_id, attempt.number, attempt.fence)
    metadata = _metadata(attempt.run_name, labels, attempt) | {"annotations": {TOMBSTONE: "true"}}
    container = {"name": "tombstone", "image": "tombstone.invalid/never-runs:0"}
    spec = {
        "completions": 1,
        "parallelism": 0,
        "suspend": True,
        "backoffLimit": 0,
        "template": {"metadata": {"labels": labels}, "spec": hardened_pod(container)},
    }
    return _job(metadata, spec)


def is_tombstone(job: Mapping[str, Any]) -> bool:
    """Whether the Job is a tombstone."""
    return (job["metadata"].get("annotations") or {}).get(TOMBSTONE) == "true"


def _job(metadata: Manifest, spec: Manifest) -> Manifest:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _labels(project_id: UUID, number: int, fence: int) -> dict[str, str]:
    return {**OURS, PROJECT: str(project_id), ATTEMPT: str(number), FENCE: str(fence)}


def _metadata(job_name: str, labels: Mapping[str, str], owner: AttemptSpec | Adoption) -> Manifest:
    reference = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "name": job_name,
        "namespace": owner.namespace,
        "labels": dict(labels),
        "ownerReferences": [reference],
    }
