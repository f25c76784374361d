"""The attacker may create Jobs and write their status in one namespace that the operator serves, but no ProjectSetups.

The Jobs have the labels by which the operator watches its own, and are as large as the API server accepts, so that what
is kept of them fills the operator's memory for everybody.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from projectsetup.api.constants import ANNOTATION_PREFIX
from projectsetup.kube.job_cache import JobStore, Kind
from projectsetup.kube.jobs import slim_for_cache

MUCH: Final = "x" * 250_000
MANY: Final = [f"{number:062}" for number in range(3000)]
OWNER: Final = {"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": "uid", "controller": True}
ATTACKS: Final[dict[str, dict[str, Any]]] = {
    "one large annotation": {"annotations": {f"{ANNOTATION_PREFIX}plan": MUCH}},
    "many small annotations": {"annotations": {f"{ANNOTATION_PREFIX}{name}": name for name in MANY}},
    "labels": {"labels": {name: name for name in MANY}},
    "finalizers": {"finalizers": [f"example.test/{name}" for name in MANY]},
    "owners": {"ownerReferences": [OWNER, *({**OWNER, "uid": name, "controller": False} for name in MANY)]},
    "an owner with a long name": {"ownerReferences": [{**OWNER, "name": MUCH}]},
    "managed fields": {"managedFields": [{"manager": MUCH}]},
}
STATUSES: Final[dict[str, dict[str, Any]]] = {
    "one long message": {"conditions": [{"type": "Failed", "message": MUCH}]},
    "many messages": {"conditions": [{"type": name, "message": name} for name in MANY]},
}


def kept_of(metadata: dict[str, Any], status: dict[str, Any], kind: Kind) -> str:
    store = JobStore()
    base = {"name": "job", "namespace": "team-b", "uid": "uid", "resourceVersion": "1", "ownerReferences": [OWNER]}
    body = {"metadata": base | metadata, "spec": {"suspend": True, "template": MUCH}, "status": status}
    with store.view("team-b", "uid", lambda: None) as view:
        store.put(kind, slim_for_cache(body))
        return json.dumps([view.job, list(view.pods)])


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("what", ATTACKS)
def test_little_is_kept_of_a_large_job(what: str, kind: Kind) -> None:
    assert len(kept_of(ATTACKS[what], {}, kind)) < 10_000


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("what", STATUSES)
def test_little_is_kept_of_a_large_status(what: str, kind: Kind) -> None:
    assert len(kept_of({}, STATUSES[what], kind)) < 70_000
