"""Events on ProjectSetups; a repeated event is counted instead of stored twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from projectsetup.api.constants import API_VERSION, KIND
from projectsetup.kube.client import MERGE_PATCH, RestClient
from projectsetup.kube.errors import ApiConflict

EVENTS = ("events.k8s.io", "v1")
MAX_NOTE, MAX_INSTANCE = 1024, 128
"""Bytes that the API server allows in these fields of an event."""


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


async def record_event(client: RestClient, event: SetupEvent, *, controller: str) -> None:
    """Create the event, or increase its count while the API server still keeps it (an hour after the last one).

    `controller` names the program that reports it.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    try:
        await _create(client, event, controller, now)
    except ApiConflict:
        await _increase_count(client, event, now)


async def _create(client: RestClient, event: SetupEvent, controller: str, now: str) -> None:
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
    await client.call(what, "POST", _path(event), body=body)


async def _increase_count(client: RestClient, event: SetupEvent, now: str) -> None:
    what = f"count event on ProjectSetup {event.namespace}/{event.name}"
    path = f"{_path(event)}/{event.object_name}"
    stored = await client.call(what, "GET", path)
    count = (stored.get("series") or {}).get("count", 1) + 1
    change = {
        "metadata": {"resourceVersion": stored["metadata"]["resourceVersion"]},
        "series": {"count": count, "lastObservedTime": now},
    }
    await client.call(what, "PATCH", path, body=change, content_type=MERGE_PATCH)


def _path(event: SetupEvent) -> str:
    return f"/apis/{'/'.join(EVENTS)}/namespaces/{event.namespace}/events"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
