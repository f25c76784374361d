"""Events on ProjectSetups; one that is told again counts up instead of standing there twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubernetes.aio.client import ApiClient, CustomObjectsApi

from projectsetup.api.constants import API_VERSION, KIND
from projectsetup.cluster.errors import ApiConflict
from projectsetup.cluster.translate import translated

EVENTS = ("events.k8s.io", "v1")
MOST_OF_A_NOTE, MOST_OF_AN_INSTANCE = 1024, 128
"""Bytes that the API server allows in the texts of an event."""


@dataclass(frozen=True, slots=True)
class SetupEvent:
    """What is told of one ProjectSetup; `instance` is the operator that tells it."""

    namespace: str
    name: str
    uid: str
    reason: str
    message: str
    warning: bool
    instance: str

    @property
    def own_name(self) -> str:
        """The name of the event: the same whenever, and by whichever operator, the same is told of the same object."""
        told = f"{self.uid}\0{self.reason}\0{self.message}"
        return f"{self.name}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"


class EventRecorder:
    """Leaves events; every error is a `ClusterError`."""

    def __init__(self, api: ApiClient, *, controller: str, timeout: float) -> None:
        """`controller` names the program that tells, `timeout` is that of one call in seconds."""
        self._objects = CustomObjectsApi(api)
        self._controller = controller
        self._timeout = timeout

    async def tell(self, event: SetupEvent) -> None:
        """Create the event, or count it up while the API server still keeps it (an hour after it was last told)."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            await self._create(event, now)
        except ApiConflict:
            await self._count_up(event, now)

    async def _create(self, event: SetupEvent, now: str) -> None:
        body = {
            "apiVersion": "/".join(EVENTS),
            "kind": "Event",
            "metadata": {"name": event.own_name, "namespace": event.namespace},
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
            "note": _cut(event.message, MOST_OF_A_NOTE),
            "reportingController": self._controller,
            "reportingInstance": _cut(event.instance, MOST_OF_AN_INSTANCE),
            "eventTime": now,
        }
        with translated(f"leave event on ProjectSetup {event.namespace}/{event.name}"):
            await self._objects.create_namespaced_custom_object(
                *EVENTS, event.namespace, "events", body, _request_timeout=self._timeout
            )

    async def _count_up(self, event: SetupEvent, now: str) -> None:
        place = (*EVENTS, event.namespace, "events", event.own_name)
        with translated(f"count up event on ProjectSetup {event.namespace}/{event.name}"):
            stored: Any = await self._objects.get_namespaced_custom_object(*place, _request_timeout=self._timeout)
            count = (stored.get("series") or {}).get("count", 1) + 1
            await self._objects.patch_namespaced_custom_object(
                *place,
                {
                    "metadata": {"resourceVersion": stored["metadata"]["resourceVersion"]},
                    "series": {"count": count, "lastObservedTime": now},
                },
                _content_type="application/merge-patch+json",
                _request_timeout=self._timeout,
            )


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
