"""The cache of Jobs and pods matches the cluster, whatever happens to its watches."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from projectsetup.engines.kubernetes_job.manifest import OURS, SELECTOR
from projectsetup.kube.connection import connect
from projectsetup.kube.job_cache import JobCache, Kind
from projectsetup.kube.jobs import OF_JOB
from tests.support.chaos.proxy import Proxy
from tests.support.job_namespace import JobNamespace
from tests.support.local_steps import until

OpenCache = Callable[..., AbstractAsyncContextManager[JobCache]]

NEVER = 3600.0


@pytest.fixture
def job_namespace(kubeconfig: Path) -> JobNamespace:
    return JobNamespace(kubeconfig)


@pytest.fixture
def cache_at(monkeypatch: pytest.MonkeyPatch) -> OpenCache:
    """Opens a cache that reaches the API server through a kubeconfig."""

    @asynccontextmanager
    async def cache_at(kubeconfig: Path, *namespaces: str, check_after: float = NEVER) -> AsyncIterator[JobCache]:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        async with await connect(streaming=True) as streams:
            cache = JobCache(streams, namespaces, selector=SELECTOR, check_after=check_after)
            await cache.start()
            try:
                yield cache
            finally:
                await cache.close()

    return cache_at


def pod_phases(cache: JobCache, namespace: str) -> dict[str, list[str]]:
    """The Jobs of a namespace, each with the phases of its pods."""
    return {
        job["metadata"]["name"]: sorted(pod["status"]["phase"] for pod in pods)
        for job, pods in cache.snapshot()
        if job["metadata"]["namespace"] == namespace
    }


async def test_it_lists_jobs_and_follows_their_changes(
    cache_at: OpenCache, kubeconfig: Path, job_namespace: JobNamespace
) -> None:
    job_namespace.make_job("early")
    pod = job_namespace.make_pod("early")
    async with cache_at(kubeconfig, job_namespace.namespace) as cache:
        await until(lambda: cache.complete, "the first list to be complete")
        assert pod_phases(cache, job_namespace.namespace) == {"early": ["Pending"]}
        changed = time.monotonic()
        job_namespace.make_job("late")
        job_namespace.set_pod_status(pod, "Succeeded")
        await until(
            lambda: pod_phases(cache, job_namespace.namespace) == {"early": ["Succeeded"], "late": []},
            "the changes to arrive",
        )
        assert all(cache.age(kind) < time.monotonic() - changed for kind in Kind)
        job_namespace.delete_pod(pod)
        job_namespace.delete_job("late")
        await until(lambda: pod_phases(cache, job_namespace.namespace) == {"early": []}, "the deletions to arrive")


async def test_a_view_of_a_job_is_notified_of_changes_and_deletions(
    cache_at: OpenCache, kubeconfig: Path, job_namespace: JobNamespace
) -> None:
    woken: list[str] = []
    async with cache_at(kubeconfig, job_namespace.namespace) as cache:
        uid = job_namespace.make_job("one")
        with cache.view(job_namespace.namespace, uid, lambda: woken.append("one")) as view:
            with cache.view(job_namespace.namespace, "other", lambda: woken.append("other")):
                pod = job_namespace.make_pod("one")
                job_namespace.make_pod("one", job_uid="of-another", labels={**OURS, OF_JOB: uid})
                await until(lambda: view.job is not None and len(view.pods) == 1, "the Job to be in the view")
                job_namespace.set_pod_status(pod, "Succeeded")
                job_namespace.delete_pod(pod)
                job_namespace.delete_job("one")
                await until(lambda: view.job is None and not view.pods, "the Job to leave the view")
            assert view.last_job is not None
            assert [gone["status"]["phase"] for gone in view.deleted_pods] == ["Succeeded"]
        assert set(woken) == {"one"}
        with cache.view(job_namespace.namespace, uid, lambda: None) as view:
            assert (view.last_job, view.deleted_pods) == (None, [])


async def test_only_our_jobs_in_the_configured_namespaces(
    cache_at: OpenCache, kubeconfig: Path, job_namespace: JobNamespace
) -> None:
    second, third = JobNamespace(kubeconfig), JobNamespace(kubeconfig)
    job_namespace.make_job("somebody-elses", labels={"app": "other"})
    for place in (job_namespace, second, third):
        place.make_job("ours")
    async with cache_at(kubeconfig, job_namespace.namespace, second.namespace) as cache:
        await until(lambda: cache.complete, "the first list to be complete")
        places = {job["metadata"]["namespace"]: job["metadata"]["name"] for job, _ in cache.snapshot()}
        assert places == {job_namespace.namespace: "ours", second.namespace: "ours"}
    async with cache_at(kubeconfig) as cache:
        await until(lambda: cache.complete, "the first list to be complete")
        assert pod_phases(cache, third.namespace) == {"ours": []}


async def test_errors_and_cuts_of_every_kind_only_delay_it(
    cache_at: OpenCache, kubeconfig: Path, job_namespace: JobNamespace, tmp_path: Path
) -> None:
    with Proxy(kubeconfig, tmp_path / "proxy", random.Random(7)) as proxy:  # noqa: S311
        proxy.faults.share = 0.3
        async with cache_at(proxy.path, job_namespace.namespace) as cache:
            for number in range(20):
                job_namespace.make_job(f"job-{number}")
                pod = job_namespace.make_pod(f"job-{number}")
                if number % 2:
                    job_namespace.delete_job(f"job-{number}")
                job_namespace.set_pod_status(pod, "Running")
            expected = {f"job-{number}": ["Running"] for number in range(0, 20, 2)}
            await until(
                lambda: pod_phases(cache, job_namespace.namespace) == expected, "all changes to arrive", limit=90
            )
