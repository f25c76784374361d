"""Jobs and pods as they are kept: 1,000 of them at once are to take little room."""

from __future__ import annotations

import json
from typing import Any

from projectsetup.api.constants import ANNOTATION_PREFIX

Body = dict[str, Any]

OF_JOB = "batch.kubernetes.io/controller-uid"
"""The label by which the Job controller finds the pods of a Job; anybody may write it, so it proves nothing."""

LARGEST_ANNOTATIONS, LARGEST_STATUS = 4096, 65_536
"""Bytes of an object that is told of by a watch, and kept until it is gone; more of either is not kept at all."""

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
    owners = body["metadata"].get("ownerReferences") or []
    metadata["ownerReferences"] = [_cut(owner) for owner in owners if owner.get("controller")]
    annotations = body["metadata"].get("annotations") or {}
    metadata["annotations"] = {key: value for key, value in annotations.items() if key.startswith(ANNOTATION_PREFIX)}
    spec = {key: value for key, value in (body.get("spec") or {}).items() if key in _KEPT_OF_SPEC}
    return {"metadata": metadata, "spec": spec, "status": _cut(body.get("status") or {})}


def small(body: Body) -> Body:
    """`slim`, without what is larger than any watch has to tell: whoever makes thousands must not fill the memory."""
    kept = slim(body)
    kept["metadata"].pop("finalizers", None)
    if len(json.dumps(kept["metadata"]["annotations"])) > LARGEST_ANNOTATIONS:
        kept["metadata"]["annotations"] = {}
    if len(json.dumps(kept["status"])) > LARGEST_STATUS:
        kept["status"] = {}
    return kept


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, list):
        return [_cut(part) for part in value]
    return {key: _cut(part) for key, part in value.items()} if isinstance(value, dict) else value
