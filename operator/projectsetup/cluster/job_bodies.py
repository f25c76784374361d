"""Jobs and pods as they are kept: 1,000 of them at once are to take little room."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]

OF_JOB = "batch.kubernetes.io/job-name"
"""The label that the Job controller gives to pods."""

_NOT_KEPT = frozenset({"command", "args", "env"})


def version_of(body: Body) -> str:
    """The version of an object."""
    return str(body["metadata"]["resourceVersion"])


def slim(body: Body) -> Body:
    """Without what is large and of no interest: what the steps run, and who has written what."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata, "spec": _slim_spec(body.get("spec") or {})}


def _slim_spec(spec: Body) -> Body:
    slim = {key: value for key, value in spec.items() if key != "template"}
    for containers in ("initContainers", "containers"):
        if containers in slim:
            slim[containers] = [_slim_container(container) for container in slim[containers]]
    return slim


def _slim_container(container: Body) -> Body:
    return {key: value for key, value in container.items() if key not in _NOT_KEPT}
