"""The client of the Job engine on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kubernetes.aio.client import ApiClient

from projectsetup.engines.kubernetes_job.manifest import OURS, PROJECT, SELECTOR, is_tombstone, job_manifest, tombstone
from projectsetup.engines.kubernetes_job.pod import PodSettings
from projectsetup.kube.connection import connect
from projectsetup.kube.errors import ApiForbidden, ApiNotFound, ApiRejected, ClusterError
from projectsetup.kube.jobs import OF_JOB, JobClient
from projectsetup.kube.leader import LeaseLost, SoleOperator
from tests.support.job_attempts import make_adoption, make_attempt, make_recipe
from tests.support.job_namespace import JobNamespace

PROJECT_ID = uuid4()


@pytest.fixture
def job_namespace(kubeconfig: Path) -> JobNamespace:
    return JobNamespace(kubeconfig)


@pytest.fixture
async def clients(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ApiClient, ApiClient]]:
    """Clients for requests and for streams."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with await connect() as api, await connect(streaming=True) as streams:
        yield api, streams


@pytest.fixture
def calls(clients: tuple[ApiClient, ApiClient]) -> JobClient:
    """The client of an operator that serves all namespaces."""
    return JobClient(*clients, SoleOperator())


async def error_of(call: Awaitable[Any]) -> ClusterError:
    """The error that the call raises."""
    with pytest.raises(ClusterError) as caught:
        await call
    return caught.value


async def test_the_api_server_stores_a_job_and_its_tombstone_unchanged(
    calls: JobClient, job_namespace: JobNamespace
) -> None:
    recipe = make_recipe({"name": "one"}, {"name": "two", "isolate": True})
    attempt = make_attempt(recipe, namespace=job_namespace.namespace)
    made = await calls.create_or_get(job_namespace.namespace, job_manifest(attempt, PodSettings()))
    again = await calls.create_or_get(
        job_namespace.namespace, tombstone(make_adoption(namespace=job_namespace.namespace))
    )
    assert (again["metadata"]["uid"], is_tombstone(again)) == (made["metadata"]["uid"], False)
    stone = await calls.create_or_get(
        job_namespace.namespace, tombstone(make_adoption(namespace=job_namespace.namespace, run_name="setup-other"))
    )
    assert is_tombstone(stone)
    assert stone["spec"]["suspend"] is True


async def test_permanent_refusals_are_distinguished(calls: JobClient, job_namespace: JobNamespace) -> None:
    body = job_manifest(make_attempt(make_recipe({"name": "one"}), namespace=job_namespace.namespace), PodSettings())
    unknown = {**body, "spec": {**body["spec"], "backofLimit": 1}}
    error = await error_of(calls.create_or_get(job_namespace.namespace, unknown))
    assert isinstance(error, calls.refused)
    assert isinstance(error, ApiRejected)
    assert 'unknown field "spec.backofLimit"' in str(error)
    error = await error_of(calls.create_or_get("no-such-namespace", {**body, "metadata": {"name": "one"}}))
    assert isinstance(error, calls.refused)
    assert isinstance(error, ApiNotFound)
    assert not isinstance(error, calls.no_room)


async def test_a_full_quota_and_a_terminating_namespace_leave_no_room(
    calls: JobClient, job_namespace: JobNamespace, kubeconfig: Path
) -> None:
    ending = JobNamespace(kubeconfig)
    job_namespace.allow_no_jobs()
    ending.terminate_namespace()
    for place in (job_namespace, ending):
        body = job_manifest(make_attempt(make_recipe({"name": "one"}), namespace=place.namespace), PodSettings())
        error = await error_of(calls.create_or_get(place.namespace, body))
        assert isinstance(error, calls.no_room), error
        assert isinstance(error, calls.refused)
        assert isinstance(error, ApiForbidden)


async def test_a_missing_job_is_none_and_deleting_it_succeeds(calls: JobClient, job_namespace: JobNamespace) -> None:
    assert await calls.get_job(job_namespace.namespace, "none") is None
    await calls.delete_job(job_namespace.namespace, "none", str(uuid4()))


async def test_a_deletion_waits_for_the_pods_and_hits_only_the_job_with_the_uid(
    calls: JobClient, job_namespace: JobNamespace
) -> None:
    uid = job_namespace.make_job("one")
    await calls.delete_job(job_namespace.namespace, "one", str(uuid4()))
    job = await calls.get_job(job_namespace.namespace, "one")
    assert job is not None
    assert "deletionTimestamp" not in job["metadata"]
    await calls.delete_job(job_namespace.namespace, "one", uid)
    job = await calls.get_job(job_namespace.namespace, "one")
    assert job is not None
    assert job["metadata"]["deletionTimestamp"]
    assert "foregroundDeletion" in job["metadata"]["finalizers"]
    job_namespace.finish_deletion("one")
    assert await calls.get_job(job_namespace.namespace, "one") is None


async def test_the_pods_of_one_job(calls: JobClient, job_namespace: JobNamespace) -> None:
    uid, other = job_namespace.make_job("one"), job_namespace.make_job("other")
    names = {job_namespace.make_pod("one"), job_namespace.make_pod("one")}
    job_namespace.make_pod("other")
    job_namespace.make_pod("one", job_uid=other, labels={**OURS, OF_JOB: uid})
    found = await calls.pods_of(job_namespace.namespace, uid)
    assert {pod["metadata"]["name"] for pod in found} == names
    assert {tuple(pod) for pod in found} == {("metadata", "spec", "status")}
    assert {tuple(pod["spec"]) for pod in found} == {()}


async def test_all_jobs_and_pods_of_a_project_are_found_page_by_page(
    calls: JobClient, job_namespace: JobNamespace, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projectsetup.kube.client.PAGE", 2)
    second = JobNamespace(kubeconfig)
    for place, number in ((job_namespace, 5), (second, 2)):
        for index in range(number):
            place.make_job(f"job-{index}", project=PROJECT_ID)
            place.make_pod(f"job-{index}", project=PROJECT_ID)
    job_namespace.make_job("of-another", project=uuid4())
    selector = f"{SELECTOR},{PROJECT}={PROJECT_ID}"
    for place, number in ((job_namespace, 5), (second, 2)):
        jobs, pods = await calls.select(place.namespace, selector)
        assert {body["metadata"]["namespace"] for body in (*jobs, *pods)} == {place.namespace}
        assert (len(jobs), len(pods)) == (number, number)


async def test_warnings_about_the_given_objects_come_newest_first(
    calls: JobClient, job_namespace: JobNamespace
) -> None:
    uid = job_namespace.make_job("one")
    job_namespace.warn("one", uid, "first", at="2026-01-01T00:00:00Z")
    job_namespace.warn("one", uid, "last", at="2026-01-01T00:00:02Z")
    job_namespace.warn("other", str(uuid4()), "of another", at="2026-01-01T00:00:01Z")
    assert await calls.warnings_about(job_namespace.namespace, [uid, str(uuid4())]) == ["last", "first"]


async def test_a_missing_pod_has_no_log_and_an_unstarted_one_an_empty_log(
    calls: JobClient, job_namespace: JobNamespace
) -> None:
    async def read(pod: str) -> list[bytes]:
        pieces = calls.read_log(job_namespace.namespace, pod, "one", since=None, tail=None, follow=True)
        return [piece async for piece in pieces]

    assert isinstance(await error_of(read("none")), ApiNotFound)
    pod = job_namespace.make_pod("one", job_uid=str(uuid4()))
    assert await read(pod) == []


class Deposed(SoleOperator):
    """The guard of an operator that has lost the leader lease."""

    def check(self) -> None:
        raise LeaseLost("frozen for too long")


async def test_an_operator_without_the_lease_creates_and_deletes_nothing(
    clients: tuple[ApiClient, ApiClient], job_namespace: JobNamespace
) -> None:
    name, calls = f"setup-{uuid4()}-1-1", JobClient(*clients, Deposed())
    for call in (
        calls.create_or_get(job_namespace.namespace, {"metadata": {"name": name}}),
        calls.delete_job(job_namespace.namespace, name, "uid"),
    ):
        with pytest.raises(LeaseLost):
            await call
    assert await calls.get_job(job_namespace.namespace, name) is None
