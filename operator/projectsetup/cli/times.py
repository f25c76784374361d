"""Times as people say them, and as annotations have them."""

from __future__ import annotations

from datetime import UTC, datetime

from projectsetup.api.durations import lasting


def moment(time: datetime | None, now: datetime) -> str:
    """`2026-11-24 12:00:00 UTC (5m ago)`, or `(in 12s)`; empty for None."""
    if time is None:
        return ""
    distance = f"in {lasting(time - now)}" if time > now else f"{lasting(now - time)} ago"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({distance})"


def timestamp(now: datetime) -> str:
    """A value for an annotation that asks for something: new every time."""
    return now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
