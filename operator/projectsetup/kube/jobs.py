"""The calls to the API server by which attempts are run as Jobs."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence

from kubernetes.aio.client import ApiClient

from projectsetup.api.constants import controller_uid
from projectsetup.kube.client import FIELD_MANAGER
from projectsetup.kube.errors import (
    ApiConflict,
    ApiForbidden,
    ApiNoRoom,
    ApiNotFound,
    ApiRejected,
    ApiUnavailable,
    ClusterError,
)
from projectsetup.kube.job_bodies import OF_JOB, Body, slim
from projectsetup.kube.leader import Leader
from projectsetup.kube.raw import TIMEOUT, RawApi


class JobCluster:
    """Makes, reads and deletes Jobs, and reads what is told of them, past every cache; what steps run is left out.

    Every error is a `failed`; one that is `refused` was answered, and would be answered so again.
    """

    failed: type[Exception] = ClusterError
    refused: tuple[type[Exception], ...] = (ApiForbidden, ApiRejected, ApiNotFound)
    no_room: tuple[type[Exception], ...] = (ApiNoRoom,)

    def __init__(self, api: ApiClient, streams: ApiClient, leader: Leader) -> None:
        """Logs are read by `streams`.

        Nothing is made or deleted by who does not lead (LeaseLost).
        """
        self._leader = leader
        self._api = RawApi(api)
        self._streams = RawApi(streams)

    async def create_or_get(self, namespace: str, manifest: Body) -> Body:
        """The Job of that name, which is made when there is none yet.

        The API server gives up what it has not done in time, so that it is not done much later.
        """
        name = manifest["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "timeout": f"{TIMEOUT:.0f}s"}
        what = f"create Job {namespace}/{name}"
        self._leader.check()
        try:
            return slim(await self._api.call(what, "POST", jobs_path(namespace), query=query, body=manifest))
        except ApiConflict as error:
            found = await self.get_job(namespace, name)
            if found is None:
                raise ApiUnavailable(str(error)) from error
            return found

    async def get_job(self, namespace: str, name: str) -> Body | None:
        """One Job, None when there is none of that name."""
        try:
            return slim(await self._api.call(f"get Job {namespace}/{name}", "GET", f"{jobs_path(namespace)}/{name}"))
        except ApiNotFound:
            return None

    async def pods_of(self, namespace: str, job_uid: str) -> list[Body]:
        """The pods that the Job with this uid controls."""
        what = f"list pods in {namespace}"
        found, _ = await self._api.list_all(what, pods_path(namespace), query={"labelSelector": f"{OF_JOB}={job_uid}"})
        return [slim(pod) for pod in found if controller_uid(pod) == job_uid]

    async def select(self, namespace: str, selector: str) -> tuple[list[Body], list[Body]]:
        """All Jobs of a namespace with these labels, and then all pods with them."""
        return (
            await self._select(f"list Jobs in {namespace}", jobs_path(namespace), selector),
            await self._select(f"list pods in {namespace}", pods_path(namespace), selector),
        )

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Ask for the deletion of the Job that has this uid, which goes once its pods are gone."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        self._leader.check()
        try:
            await self._api.call(
                f"delete Job {namespace}/{name}", "DELETE", f"{jobs_path(namespace)}/{name}", body=body
            )
        except (ApiNotFound, ApiConflict):
            return

    async def warnings_about(self, namespace: str, uids: Sequence[str]) -> list[str]:
        """The texts of the warnings about these objects, the newest first."""
        path = f"/api/v1/namespaces/{namespace}/events"
        found: list[Body] = []
        for uid in uids:
            query = {"fieldSelector": f"type=Warning,involvedObject.uid={uid}"}
            found += (await self._api.list_all(f"list events in {namespace}", path, query=query))[0]
        return [event.get("message") or "" for event in sorted(found, key=_told_at, reverse=True)]

    async def follow_log(
        self, namespace: str, pod: str, container: str, *, since: float | None
    ) -> AsyncGenerator[bytes]:
        """What a container prints, in pieces, until it ends; without what is older than `since` seconds."""
        query: dict[str, str | int] = {"container": container, "follow": "true"}
        if since is not None:
            query["sinceSeconds"] = max(math.ceil(since), 1)
        what = f"follow the log of pod {namespace}/{pod}"
        async with self._streams.stream(what, f"{pods_path(namespace)}/{pod}/log", query=query) as pieces:
            async for piece in pieces:
                yield piece

    async def _select(self, what: str, path: str, selector: str) -> list[Body]:
        found, _ = await self._api.list_all(what, path, query={"labelSelector": selector})
        return list(map(slim, found))


def jobs_path(namespace: str | None) -> str:
    """Where the Jobs of a namespace are; None: of all."""
    return "/apis/batch/v1/jobs" if namespace is None else f"/apis/batch/v1/namespaces/{namespace}/jobs"


def pods_path(namespace: str | None) -> str:
    """Where the pods of a namespace are; None: of all."""
    return "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{namespace}/pods"


def _told_at(event: Body) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((time for time in times if time), event["metadata"].get("creationTimestamp") or "")
