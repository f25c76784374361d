"""What the cache keeps of ProjectSetups."""

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


def test_a_cached_resource_equals_the_one_that_was_seen() -> None:
    seen = body(annotations={PRIORITY: "3"}, spec={"recipe": "a", "parameters": {"k": "v"}}, status={"attempt": 2})
    cache = ResourceCache()
    cache.apply(pack(seen))
    assert cache.get(KEY) == parse_resource(seen)


def test_what_the_operator_does_not_use_is_dropped() -> None:
    foreign = {"labels": {"l": "x" * 60}, "managedFields": [{"manager": "x"}], "finalizers": ["a/b"]}
    plain, decorated = body(annotations={PRIORITY: "3"}), body(annotations={PRIORITY: "3", "other": "y" * 100_000})
    decorated["metadata"] |= foreign
    assert pack(decorated) == pack(plain)


def test_a_resource_that_is_too_large_is_known_but_not_kept() -> None:
    cache = ResourceCache()
    cache.apply(pack(body(spec={"parameters": parameters(LARGEST_KEPT)})))
    assert cache.get(KEY) is None
    assert cache.uid(KEY) == "one"
    assert [entry.key for entry in cache.unfinished()] == [KEY]
    assert cache.apply(pack(body(version=2, spec={"parameters": parameters(100)}))) is not None
    assert cache.get(KEY) is not None


def test_an_older_version_changes_nothing_and_another_object_replaces_it() -> None:
    cache = ResourceCache()
    cache.apply(pack(body(version=2)))
    assert cache.apply(pack(body(version=1, spec={"suspend": True}))) is None
    change = cache.apply(pack(body(version=3, uid="two")))
    assert change is not None
    assert change.deleted == Deleted("one", KEY)


def test_unfinished_entries_know_their_run_and_project() -> None:
    cache = ResourceCache()
    cache.apply(pack(body(status={"runRef": {"engine": "job", "name": "setup-1", "id": "x"}}, spec={"suspend": True})))
    (entry,) = cache.unfinished()
    assert (entry.run_name, entry.project_id, entry.suspended) == ("setup-1", UUID(NAME), False)
    cache.apply(pack(body(version=2, spec={"suspend": True})))
    assert [entry.suspended for entry in cache.unfinished()] == [True]
    cache.apply(pack(body(version=3, status={"conditions": [{"type": "Succeeded", "status": "False"}]})))
    assert cache.unfinished() == []


def test_a_long_value_is_cut_once_and_stays_distinct() -> None:
    long, other = "x" * 5_000, "x" * 5_001
    assert len(cut_value(long)) == LONGEST_KEPT
    assert cut_value(cut_value(long)) == cut_value(long) != cut_value(other)


def test_a_long_request_is_handled_once_its_cut_value_is_recorded() -> None:
    requested = body(annotations={RETRY_REQUESTED_AT: "x" * 5_000})
    resource = parse_resource(requested)
    assert resource.problem is not None
    assert resource.retry_is_new
    for handled in (resource.annotations[RETRY_REQUESTED_AT], "x" * 5_000):
        assert not parse_resource({**requested, "status": {"lastHandledRetry": handled}}).retry_is_new
