"""What is kept of the ProjectSetups that were seen."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

from projectsetup.api.annotations import LONGEST_KEPT, cut_value
from projectsetup.api.constants import PRIORITY, RETRY_REQUESTED_AT
from projectsetup.api.models import parse_resource
from projectsetup.controller.cache import LARGEST_KEPT, Deleted, ResourceCache, pack

NAME = "3f0a1c52-1111-4222-8333-444455556666"
KEY = ("team-a", NAME)


def body(*, version: int = 1, uid: str = "one", annotations: object = None, **parts: Any) -> dict[str, Any]:
    metadata = {"namespace": KEY[0], "name": NAME, "uid": uid, "resourceVersion": str(version), "generation": 1}
    return {"metadata": {**metadata, "annotations": annotations or {}}, **parts}


def parameters(size: int) -> dict[str, str]:
    return {"p": os.urandom(size).hex()}


def test_what_is_kept_reads_as_what_was_seen() -> None:
    seen = body(annotations={PRIORITY: "3"}, spec={"recipe": "a", "parameters": {"k": "v"}}, status={"attempt": 2})
    store = ResourceCache()
    store.apply(pack(seen))
    assert store.get(KEY) == parse_resource(seen)


def test_what_nobody_asks_for_is_not_kept() -> None:
    foreign = {"labels": {"l": "x" * 60}, "managedFields": [{"manager": "x"}], "finalizers": ["a/b"]}
    plain, decorated = body(annotations={PRIORITY: "3"}), body(annotations={PRIORITY: "3", "other": "y" * 100_000})
    decorated["metadata"] |= foreign
    assert pack(decorated) == pack(plain)


def test_one_that_is_too_large_is_known_and_not_kept() -> None:
    store = ResourceCache()
    store.apply(pack(body(spec={"parameters": parameters(LARGEST_KEPT)})))
    assert store.get(KEY) is None
    assert store.uid(KEY) == "one"
    assert [kept.key for kept in store.unfinished()] == [KEY]
    assert store.apply(pack(body(version=2, spec={"parameters": parameters(100)}))) is not None
    assert store.get(KEY) is not None


def test_an_older_version_changes_nothing_and_another_object_takes_its_place() -> None:
    store = ResourceCache()
    store.apply(pack(body(version=2)))
    assert store.apply(pack(body(version=1, spec={"suspend": True}))) is None
    change = store.apply(pack(body(version=3, uid="two")))
    assert change is not None
    assert change.deleted == Deleted("one", KEY)


def test_unfinished_ones_tell_what_runs_of_which_project() -> None:
    store = ResourceCache()
    store.apply(pack(body(status={"runRef": {"engine": "job", "name": "setup-1", "id": "x"}}, spec={"suspend": True})))
    (kept,) = store.unfinished()
    assert (kept.run_name, kept.project_id, kept.suspended) == ("setup-1", UUID(NAME), False)
    store.apply(pack(body(version=2, spec={"suspend": True})))
    assert [kept.suspended for kept in store.unfinished()] == [True]
    store.apply(pack(body(version=3, status={"conditions": [{"type": "Succeeded", "status": "False"}]})))
    assert store.unfinished() == []


def test_a_value_that_is_too_long_is_cut_once_and_stays_another_than_others() -> None:
    long, other = "x" * 5_000, "x" * 5_001
    assert len(cut_value(long)) == LONGEST_KEPT
    assert cut_value(cut_value(long)) == cut_value(long) != cut_value(other)


def test_a_request_that_is_too_long_counts_as_handled_once_its_cut_value_was_recorded() -> None:
    asked = body(annotations={RETRY_REQUESTED_AT: "x" * 5_000})
    resource = parse_resource(asked)
    assert resource.problem is not None
    assert resource.retry_is_new
    for handled in (resource.annotations[RETRY_REQUESTED_AT], "x" * 5_000):
        assert not parse_resource({**asked, "status": {"lastHandledRetry": handled}}).retry_is_new
