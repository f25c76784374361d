"""Events on ProjectSetups; one that is told again counts up instead of standing there twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from projectsetup.api.constants import API_VERSION, KIND
from projectsetup.kube.errors import ApiConflict
from projectsetup.kube.raw import MERGE_PATCH, RawApi

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

    def __init__(self, api: RawApi, *, controller: str) -> None:
        """`controller` names the program that tells."""
        self._api = api
        self._controller = controller

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
        what = f"leave event on ProjectSetup {event.namespace}/{event.name}"
        await self._api.call(what, "POST", _place(event), body=body)

    async def _count_up(self, event: SetupEvent, now: str) -> None:
        what = f"count up event on ProjectSetup {event.namespace}/{event.name}"
        place = f"{_place(event)}/{event.own_name}"
        stored = await self._api.call(what, "GET", place)
        count = (stored.get("series") or {}).get("count", 1) + 1
        change = {
            "metadata": {"resourceVersion": stored["metadata"]["resourceVersion"]},
            "series": {"count": count, "lastObservedTime": now},
        }
        await self._api.call(what, "PATCH", place, body=change, content_type=MERGE_PATCH)


def _place(event: SetupEvent) -> str:
    return f"/apis/{'/'.join(EVENTS)}/namespaces/{event.namespace}/events"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
