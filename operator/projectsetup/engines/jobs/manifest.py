"""The Job of an attempt, as it is handed to the API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from projectsetup.api.constants import ANNOTATION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projectsetup.engines.jobs.attempt import Adopted, JobAttempt, PodSettings

Manifest = dict[str, Any]

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
COMPONENT: Final = "app.kubernetes.io/component"
PROJECT: Final = ANNOTATION_PREFIX + "project"
ATTEMPT: Final = ANNOTATION_PREFIX + "attempt"
FENCE: Final = ANNOTATION_PREFIX + "fence"
TOMBSTONE: Final = ANNOTATION_PREFIX + "tombstone"

OURS: Final = {MANAGED_BY: "projectsetup-operator", COMPONENT: "attempt"}
"""The labels of every Job and pod of this engine."""

SELECTOR: Final = ",".join(f"{key}={value}" for key, value in OURS.items())
"""Selects them."""


def job_manifest(attempt: JobAttempt, settings: PodSettings) -> Manifest:
    """The Job that runs the attempt."""
    raise NotImplementedError


def tombstone(adopted: Adopted) -> Manifest:
    """A Job that never runs and takes the name of one that has never been seen.

    A create that is still under way from an operator that died cannot succeed any more once it is there.
    """
    raise NotImplementedError


def is_tombstone(job: Mapping[str, Any]) -> bool:
    """Whether the Job is a tombstone."""
    return (job["metadata"].get("annotations") or {}).get(TOMBSTONE) == "true"
