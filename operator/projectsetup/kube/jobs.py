"""The calls to the API server that run attempts as Jobs, and the parts of Jobs and pods that are kept."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from kubernetes.aio.client import ApiClient

from projectsetup.api.constants import ANNOTATION_PREFIX, controller_uid
from projectsetup.kube.client import TIMEOUT, Body, RestClient
from projectsetup.kube.errors import (
    ApiConflict,
    ApiForbidden,
    ApiNoRoom,
    ApiNotFound,
    ApiRejected,
    ApiUnavailable,
    ClusterError,
)
from projectsetup.kube.leader import Leader
from projectsetup.kube.setups import OPERATOR

OF_JOB = "batch.kubernetes.io/controller-uid"
"""The label by which the Job controller finds the pods of a Job; anybody may write it, so it proves nothing."""

MAX_ANNOTATIONS, MAX_STATUS = 4096, 65_536
"""Bytes of an object that the cache keeps; an object with more of either is kept without them."""

MAX_TEXT = 4096
"""Characters kept of any text in a status; the kubelet keeps no more of a termination message."""

_KEPT_METADATA = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "finalizers"}
)
_KEPT_SPEC = frozenset({"suspend", "nodeName"})


class JobClient:
    """Creates, reads and deletes Jobs, and reads their pods, warnings and logs, bypassing every cache.

    Every error is a `failed`. A `refused` call was answered, and would be answered the same way again.
    """

    failed: type[Exception] = ClusterError
    refused: tuple[type[Exception], ...] = (ApiForbidden, ApiRejected, ApiNotFound)
    no_room: tuple[type[Exception], ...] = (ApiNoRoom,)

    def __init__(self, api: ApiClient, streams: ApiClient, leader: Leader) -> None:
        """Logs are read over `streams`; LeaseLost is raised instead of a write when this operator does not lead."""
        self._leader = leader
        self._client = RestClient(api)
        self._streams = RestClient(streams)

    async def create_or_get(self, namespace: str, manifest: Body) -> Body:
        """Create the Job, or return the existing one of that name.

        The API server abandons a request that it cannot finish in time, so that no Job appears much later.
        """
        name = manifest["metadata"]["name"]
        query = {"fieldManager": OPERATOR, "fieldValidation": "Strict", "timeout": f"{TIMEOUT:.0f}s"}
        what = f"create Job {namespace}/{name}"
        self._leader.check()
        try:
            return slim(await self._client.call(what, "POST", jobs_path(namespace), query=query, body=manifest))
        except ApiConflict as error:
            found = await self.get_job(namespace, name)
            if found is None:
                raise ApiUnavailable(str(error)) from error
            return found

    async def get_job(self, namespace: str, name: str) -> Body | None:
        """Return one Job, or None when it does not exist."""
        path = f"{jobs_path(namespace)}/{name}"
        try:
            return slim(await self._client.call(f"get Job {namespace}/{name}", "GET", path))
        except ApiNotFound:
            return None

    async def pods_of(self, namespace: str, job_uid: str) -> list[Body]:
        """Return the pods that the Job with this uid controls."""
        pods = await self._select(f"list pods in {namespace}", pods_path(namespace), f"{OF_JOB}={job_uid}")
        return [pod for pod in pods if controller_uid(pod) == job_uid]

    async def select(self, namespace: str, selector: str) -> tuple[list[Body], list[Body]]:
        """Return the Jobs of a namespace with these labels, and the pods with them as read after the Jobs."""
        return (
            await self._select(f"list Jobs in {namespace}", jobs_path(namespace), selector),
            await self._select(f"list pods in {namespace}", pods_path(namespace), selector),
        )

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Request the deletion of the Job with this uid, which disappears once its pods have."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        path = f"{jobs_path(namespace)}/{name}"
        self._leader.check()
        try:
            await self._client.call(f"delete Job {namespace}/{name}", "DELETE", path, body=body)
        except (ApiNotFound, ApiConflict):
            return

    async def warnings_about(self, namespace: str, uids: Sequence[str]) -> list[str]:
        """Return the texts of the Warning events on these objects, newest first."""
        path = f"/api/v1/namespaces/{namespace}/events"
        events: list[Body] = []
        for uid in uids:
            query = {"fieldSelector": f"type=Warning,involvedObject.uid={uid}"}
            events += (await self._client.list_all(f"list events in {namespace}", path, query=query))[0]
        return [event.get("message") or "" for event in sorted(events, key=_reported_at, reverse=True)]

    def read_log(
        self, namespace: str, pod: str, container: str, *, since: str | None, tail: int | None, follow: bool
    ) -> AsyncGenerator[bytes]:
        """Yield what a container has printed, in pieces, with the time of each line; `follow`: until it ends.

        What is older than the time `since`, in whole seconds, is left out, and what comes before the last `tail` lines.
        """
        return read_log(self._streams, namespace, pod, container, since=since, tail=tail, follow=follow)

    async def _select(self, what: str, path: str, selector: str) -> list[Body]:
        found, _ = await self._client.list_all(what, path, query={"labelSelector": selector})
        return list(map(slim, found))


async def read_log(
    client: RestClient,
    namespace: str,
    pod: str,
    container: str,
    *,
    since: str | None = None,
    tail: int | None = None,
    follow: bool,
) -> AsyncGenerator[bytes]:
    """See `JobClient.read_log`."""
    query: dict[str, str | int] = {"container": container, "timestamps": "true", "follow": str(follow).lower()}
    query |= {name: value for name, value in {"sinceTime": since, "tailLines": tail}.items() if value is not None}
    what = f"read the log of pod {namespace}/{pod}"
    async with client.stream(what, f"{pods_path(namespace)}/{pod}/log", query=query) as pieces:
        async for piece in pieces:
            yield piece


def jobs_path(namespace: str | None) -> str:
    """Return the path of the Jobs of a namespace (None: of all)."""
    return "/apis/batch/v1/jobs" if namespace is None else f"/apis/batch/v1/namespaces/{namespace}/jobs"


def pods_path(namespace: str | None) -> str:
    """Return the path of the pods of a namespace (None: of all)."""
    return "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{namespace}/pods"


def slim(body: Body) -> Body:
    """Reduce a Job or pod to what the engine reads, with texts cut: tenants can write anything into their objects."""
    metadata = {key: value for key, value in body["metadata"].items() if key in _KEPT_METADATA}
    owners = body["metadata"].get("ownerReferences") or []
    metadata["ownerReferences"] = [_cut(owner) for owner in owners if owner.get("controller")]
    annotations = body["metadata"].get("annotations") or {}
    metadata["annotations"] = {key: value for key, value in annotations.items() if key.startswith(ANNOTATION_PREFIX)}
    spec = {key: value for key, value in (body.get("spec") or {}).items() if key in _KEPT_SPEC}
    return {"metadata": metadata, "spec": spec, "status": _cut(body.get("status") or {})}


def slim_for_cache(body: Body) -> Body:
    """Reduce an object further to a bounded size, so that thousands of hostile objects do not fill the memory."""
    kept = slim(body)
    kept["metadata"].pop("finalizers", None)
    if len(json.dumps(kept["metadata"]["annotations"])) > MAX_ANNOTATIONS:
        kept["metadata"]["annotations"] = {}
    if len(json.dumps(kept["status"])) > MAX_STATUS:
        kept["status"] = {}
    return kept


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, list):
        return [_cut(part) for part in value]
    return {key: _cut(part) for key, part in value.items()} if isinstance(value, dict) else value


def _reported_at(event: Body) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((time for time in times if time), event["metadata"].get("creationTimestamp") or "")
