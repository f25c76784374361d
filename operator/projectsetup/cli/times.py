"""Times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime

from projectsetup.api.durations import lasting

__all__ = ["lasting", "moment"]


def moment(time: datetime | None, now: datetime) -> str:
    """`2026-11-24 12:00:00 UTC (5m ago)`, or `(in 12s)`; empty for None."""
    if time is None:
        return ""
    distance = f"in {lasting(time - now)}" if time > now else f"{lasting(now - time)} ago"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({distance})"
