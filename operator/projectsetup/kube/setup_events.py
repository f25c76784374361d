"""The events on a ProjectSetup, for people who look at it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from projectsetup.kube.client import Body, RestClient

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event that occurred `count` times, the last time at `at`."""

    at: datetime
    is_warning: bool
    reason: str
    message: str
    count: int


async def events_of(client: RestClient, namespace: str, uid: str) -> list[SeenEvent]:
    """Return the events on the object with this uid, the latest first. Raises ClusterError."""
    path = f"/api/v1/namespaces/{quote(namespace)}/events"  # like kubectl: the role `view` may read these
    query = {"fieldSelector": f"involvedObject.uid={uid}"}
    found, _ = await client.list_all(f"list events in {namespace}", path, query=query)
    return sorted(map(_seen, found), key=lambda event: event.at, reverse=True)


def _seen(event: Body) -> SeenEvent:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    time = next(filter(None, times), None)
    return SeenEvent(
        at=datetime.fromisoformat(time) if time else _EPOCH,
        is_warning=event.get("type") == "Warning",
        reason=event.get("reason") or "",
        message=event.get("message") or "",
        count=series.get("count") or event.get("count") or 1,
    )
