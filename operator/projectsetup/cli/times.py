"""Times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_FEW: Final = 10
"""From this many of a unit on, the next smaller unit tells nothing any more."""


def lasting(duration: timedelta) -> str:
    """`42s`, `5m3s`, `3h12m`, `12d`: the largest unit, and the next one where it still tells something."""
    seconds = max(0, round(duration.total_seconds()))
    for (unit, size), (smaller, smaller_size) in pairwise(_UNITS):
        if seconds >= size:
            number, rest = divmod(seconds, size)
            part = rest // smaller_size
            return f"{number}{unit}" + (f"{part}{smaller}" if part and number < _FEW else "")
    return f"{seconds}s"


def moment(time: datetime | None, now: datetime) -> str:
    """`2026-11-24 12:00:00 UTC (5m ago)`, or `(in 12s)`; empty for None."""
    if time is None:
        return ""
    distance = f"in {lasting(time - now)}" if time > now else f"{lasting(now - time)} ago"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({distance})"
