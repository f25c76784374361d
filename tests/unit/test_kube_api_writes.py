"""What a write to the API server is counted as."""

from __future__ import annotations

import pytest

from projectsetup.kube.write_hooks import resource_of, result_of


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/apis/codemyspec.com/v1alpha1/namespaces/team/projectsetups/id/status", "projectsetups/status"),
        ("/apis/events.k8s.io/v1/namespaces/team/events", "events"),
        ("/apis/coordination.k8s.io/v1/namespaces/apis/leases/name", "leases"),
        ("/apis/batch/v1/namespaces/namespaces/jobs/name", "jobs"),
        ("/api/v1/namespaces/apis/pods/name", "pods"),
        ("/k8s/clusters/c-1/api/v1/namespaces/team/pods/name", "pods"),
        ("/api/v1/namespaces/team", "namespaces"),
        ("/version", "other"),
    ],
)
def test_the_resource_and_nothing_of_the_object(path: str, resource: str) -> None:
    assert resource_of(path) == resource


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, "ok"),
        (201, "ok"),
        (400, "rejected"),
        (401, "unavailable"),
        (403, "forbidden"),
        (404, "not_found"),
        (409, "conflict"),
        (422, "rejected"),
        (429, "unavailable"),
        (499, "rejected"),
        (500, "unavailable"),
    ],
)
def test_what_became_of_it(status: int, result: str) -> None:
    assert result_of(status) == result
