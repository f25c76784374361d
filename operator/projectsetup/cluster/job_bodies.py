"""Jobs and pods as they are kept: 1,000 of them at once are to take little room."""

from __future__ import annotations

from typing import Any

from projectsetup.api.constants import ANNOTATION_PREFIX

Body = dict[str, Any]

OF_JOB = "batch.kubernetes.io/controller-uid"
"""The label by which the Job controller finds the pods of a Job; anybody may write it, so it proves nothing."""

LONGEST_TEXT = 4096
"""Characters kept of any text in a status; the kubelet keeps no more of a termination message."""

_KEPT = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "labels",
        "ownerReferences",
        "finalizers",
    }
)
_KEPT_OF_SPEC = frozenset({"suspend", "nodeName"})


def version_of(body: Body) -> str:
    """The version of an object."""
    return str(body["metadata"]["resourceVersion"])


def slim(body: Body) -> Body:
    """What the engine looks at, without long texts: a tenant can write anything into the objects of his namespace."""
    metadata = {key: value for key, value in body["metadata"].items() if key in _KEPT}
    annotations = body["metadata"].get("annotations") or {}
    metadata["annotations"] = {key: value for key, value in annotations.items() if key.startswith(ANNOTATION_PREFIX)}
    spec = {key: value for key, value in (body.get("spec") or {}).items() if key in _KEPT_OF_SPEC}
    return {"metadata": metadata, "spec": spec, "status": _cut(body.get("status") or {})}


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, list):
        return [_cut(part) for part in value]
    return {key: _cut(part) for key, part in value.items()} if isinstance(value, dict) else value
