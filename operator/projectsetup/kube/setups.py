"""The client for ProjectSetups, and for events on them, that operator, command line and dashboard share."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote

from kubernetes.aio.client import ApiClient

from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, VERSION
from projectsetup.kube.client import APPLY_PATCH, MERGE_PATCH, Body, Query, RestClient
from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.errors import (
    ApiConflict,
    ApiNotFound,
    ApiNotInstalled,
    ClusterError,
    SetupNotFound,
    is_temporary,
)
from projectsetup.kube.informer import Action, Change, Collection, Informer, ObjectKey, OnError

OPERATOR, COMMAND_LINE = "projectsetup-operator", "projectsetup-cli"
"""The field managers that write ProjectSetups."""
PAGE, METADATA_PAGE = 100, 500
"""Most ProjectSetups of a page when they are read as a whole, and when only their metadata is read."""
CHECK_AFTER: Final = 60.0
"""Seconds of silence after which people's watches are checked: they may be many, and the check lists everything."""
MAX_RETRY_DELAY: Final = 2.0
"""Seconds: somebody is looking at the screen."""
EVENTS = ("events.k8s.io", "v1")
MAX_NOTE, MAX_INSTANCE = 1024, 128
"""Bytes that the API server allows in these fields of an event."""

T = TypeVar("T")


class SetupClient:
    """Reads and writes ProjectSetups; every error is a `ClusterError`.

    Where the cluster does not have the CRD, every call raises ApiNotInstalled, which says how to install it.
    """

    def __init__(self, api: ApiClient, *, field_manager: str) -> None:
        """`field_manager` is OPERATOR or COMMAND_LINE; events are reported under that name as well."""
        self._client = RestClient(api)
        self._field_manager = field_manager

    @classmethod
    @asynccontextmanager
    async def connected(cls, kubeconfig: Kubeconfig) -> AsyncIterator[SetupClient]:
        """A client for the command line; its first call shows whether the cluster can be reached."""
        async with await connect(kubeconfig) as api:
            yield cls(api, field_manager=COMMAND_LINE)

    async def find(self, namespace: str, name: str) -> Body | None:
        """Return one ProjectSetup, or None when it does not exist."""
        try:
            return await self._call(f"get ProjectSetup {namespace}/{name}", "GET", setups_path(namespace, name))
        except ApiNotInstalled:
            raise
        except ApiNotFound:
            return None

    async def get(self, namespace: str, name: str) -> Body:
        """Return one ProjectSetup, or raise SetupNotFound."""
        found = await self.find(namespace, name)
        if found is None:
            raise SetupNotFound(namespace, name)
        return found

    async def list(self, namespace: str | None) -> list[Body]:
        """Return the ProjectSetups of one namespace, or of all (None)."""
        found: list[Body] = []
        await self.visit((namespace,) if namespace is not None else (), found.append)
        return found

    async def visit(
        self, namespaces: tuple[str, ...], handle: Callable[[Body], None], *, metadata_only: bool = False
    ) -> int:
        """Read the ProjectSetups of these namespaces (none given: of all), or their metadata, and `handle` each.

        Only one page is held in memory at a time. They are read from etcd and not from a cache. Returns the
        resourceVersion of the list, the lowest one where several namespaces were listed.
        """
        return min([await self._visit(namespace, handle, metadata_only) for namespace in namespaces or (None,)])

    async def _visit(self, namespace: str | None, handle: Callable[[Body], None], metadata_only: bool) -> int:
        version, path = "", setups_path(namespace)
        query = {"limit": METADATA_PAGE if metadata_only else PAGE}
        with _installed():
            async for page in self._client.pages("list ProjectSetups", path, query=query, metadata_only=metadata_only):
                for body in page["items"]:
                    handle(body)
                version = page["metadata"]["resourceVersion"]
        return int(version)

    def informer(
        self, namespace: str | None, name: str | None = None, *, keep: Callable[[Body], T], on_error: OnError
    ) -> Informer[T]:
        """Return an informer for one ProjectSetup, for those of a namespace, or for all (namespace None).

        It suits somebody who waits at a screen: it retries within 2 to 3 s and detects a silent watch within about a
        minute. See `Informer` for `keep`, `on_error` and how to run it.
        """
        query = {} if name is None else {"fieldSelector": f"metadata.name={name}"}
        return Informer(
            self._client,
            Collection("ProjectSetups", setups_path(namespace), query),
            keep=keep,
            on_error=on_error,
            check_after=CHECK_AFTER,
            max_retry_delay=MAX_RETRY_DELAY,
        )

    async def follow(
        self,
        namespace: str | None,
        name: str | None,
        *,
        keep: Callable[[Body], T],
        on_change: Callable[[Mapping[ObjectKey, T], Sequence[Change[T]]], bool],
        on_outage: Callable[[str], None],
    ) -> None:
        """Call `on_change` with the ProjectSetups and what changed, first and after each change, until it returns True.

        They are one ProjectSetup, those of a namespace, or all. An unavailable API server is waited for; `on_outage`
        gets the reason once per outage. Other errors are raised.
        """
        is_unavailable = False

        def on_error(_action: Action, error: ClusterError) -> None:
            nonlocal is_unavailable
            if not is_temporary(error):
                raise error
            if not is_unavailable:
                on_outage(str(error))
            is_unavailable = True

        def on_changes(changes: Sequence[Change[T]]) -> bool:
            nonlocal is_unavailable
            is_unavailable = False
            return on_change(informer.objects, changes)

        informer = self.informer(namespace, name, keep=keep, on_error=on_error)
        await informer.run(on_changes)

    async def apply(
        self, namespace: str, name: str, *, annotations: Mapping[str, str], spec: Mapping[str, Any], dry_run: bool
    ) -> Body:
        """Create the ProjectSetup, or set the given fields if it exists, and return it as stored.

        This is a server-side apply: a field that an earlier apply set and this one leaves out is removed.
        """
        body: Body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}}
        if annotations:
            body["metadata"]["annotations"] = dict(annotations)
        if spec:
            body["spec"] = dict(spec)
        return await self._patch(namespace, name, body, APPLY_PATCH, {"force": "true"}, dry_run=dry_run)

    async def create(
        self, namespace: str, name: str, *, annotations: Mapping[str, str], spec: Mapping[str, Any]
    ) -> Body:
        """Create the ProjectSetup and return it as stored; ApiConflict if it exists."""
        body: Body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "annotations": dict(annotations)},
            "spec": dict(spec),
        }
        query = {"fieldManager": self._field_manager}
        return await self._call(
            f"create ProjectSetup {namespace}/{name}", "POST", setups_path(namespace), query=query, body=body
        )

    async def change(
        self,
        namespace: str,
        name: str,
        annotations: Mapping[str, str],
        spec: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
    ) -> Body:
        """Set these annotations and fields of the spec, leave everything else; SetupNotFound."""
        body: Body = {"metadata": {"annotations": dict(annotations)}}
        if spec:
            body["spec"] = dict(spec)
        try:
            return await self._patch(namespace, name, body, MERGE_PATCH, {}, dry_run=dry_run)
        except ApiNotInstalled:
            raise
        except ApiNotFound as error:
            raise SetupNotFound(namespace, name) from error

    async def replace_status(self, namespace: str, name: str, *, resource_version: str, status: Body) -> Body:
        """Replace `.status` if the ProjectSetup still has this resourceVersion (else ApiConflict); return it as stored.

        Replacing costs the API server a quarter less than patching.
        """
        return await self._call(
            f"write status of ProjectSetup {namespace}/{name}",
            "PUT",
            f"{setups_path(namespace, name)}/status",
            query={"fieldManager": self._field_manager},
            body={
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"namespace": namespace, "name": name, "resourceVersion": resource_version},
                "status": status,
            },
        )

    async def post_event(
        self, *, namespace: str, name: str, uid: str, reason: str, message: str, warning: bool, reporter: str
    ) -> None:
        """Record an event on a ProjectSetup; a repeated one is counted instead of stored twice."""
        event = SetupEvent(namespace, name, uid, reason, message, warning, reporter)
        await _record_event(self._client, event, controller=self._field_manager)

    async def get_secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """Return the base64 data of a Secret that a ProjectSetup names, or None when it does not exist."""
        path = f"/api/v1/namespaces/{quote(namespace)}/secrets/{quote(name)}"
        try:
            secret = await self._client.call(f"get Secret {namespace}/{name}", "GET", path)
        except ApiNotFound:
            return None
        return {key: str(value) for key, value in (secret.get("data") or {}).items()}

    async def _patch(
        self, namespace: str, name: str, body: Body, content_type: str, query: Query, *, dry_run: bool
    ) -> Body:
        query = {"fieldManager": self._field_manager, **query} | ({"dryRun": "All"} if dry_run else {})
        what, path = f"apply ProjectSetup {namespace}/{name}", setups_path(namespace, name)
        return await self._call(what, "PATCH", path, query=query, body=body, content_type=content_type)

    async def _call(self, what: str, method: str, path: str, **request: Any) -> Body:
        with _installed():
            return await self._client.call(what, method, path, **request)


def setups_path(namespace: str | None, name: str | None = None) -> str:
    """Return the path of the ProjectSetups of a namespace (None: of all), or of the one with this name."""
    within = "" if namespace is None else f"/namespaces/{quote(namespace)}"
    return f"/apis/{GROUP}/{VERSION}{within}/{PLURAL}" + ("" if name is None else f"/{quote(name)}")


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ApiNotInstalled as error:
        raise ApiNotInstalled(
            "the ProjectSetup CRD is not installed; run `projectsetup crd | kubectl apply -f -`"
        ) from error


@dataclass(frozen=True, slots=True)
class SetupEvent:
    """An event on one ProjectSetup; `instance` identifies the operator that reports it."""

    namespace: str
    name: str
    uid: str
    reason: str
    message: str
    warning: bool
    instance: str

    @property
    def object_name(self) -> str:
        """The name of the Event object: equal for equal events on the same object, whichever operator reports them."""
        identity = f"{self.uid}\0{self.reason}\0{self.message}"
        return f"{self.name}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


async def _record_event(client: RestClient, event: SetupEvent, *, controller: str) -> None:
    """Create the event, or increase its count while the API server still keeps it (an hour after the last one).

    `controller` names the program that reports it.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    try:
        await _create_event(client, event, controller, now)
    except ApiConflict:
        await _increase_count(client, event, now)


async def _create_event(client: RestClient, event: SetupEvent, controller: str, now: str) -> None:
    body = {
        "apiVersion": "/".join(EVENTS),
        "kind": "Event",
        "metadata": {"name": event.object_name, "namespace": event.namespace},
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": event.namespace,
            "name": event.name,
            "uid": event.uid,
        },
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "action": event.reason,
        "note": _cut(event.message, MAX_NOTE),
        "reportingController": controller,
        "reportingInstance": _cut(event.instance, MAX_INSTANCE),
        "eventTime": now,
    }
    what = f"create event on ProjectSetup {event.namespace}/{event.name}"
    await client.call(what, "POST", _events_path(event), body=body)


async def _increase_count(client: RestClient, event: SetupEvent, now: str) -> None:
    what = f"count event on ProjectSetup {event.namespace}/{event.name}"
    path = f"{_events_path(event)}/{event.object_name}"
    stored = await client.call(what, "GET", path)
    count = (stored.get("series") or {}).get("count", 1) + 1
    change = {
        "metadata": {"resourceVersion": stored["metadata"]["resourceVersion"]},
        "series": {"count": count, "lastObservedTime": now},
    }
    await client.call(what, "PATCH", path, body=change, content_type=MERGE_PATCH)


def _events_path(event: SetupEvent) -> str:
    return f"/apis/{'/'.join(EVENTS)}/namespaces/{event.namespace}/events"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
