"""When the steps of an attempt ran, as logs, history and the command line tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class StepTime:
    """When a step ran; `ended` is None while it runs."""

    name: str
    began: datetime
    ended: datetime | None = None

    @property
    def took(self) -> timedelta | None:
        """How long it ran; None while it runs."""
        return None if self.ended is None else self.ended - self.began

    def to_dict(self) -> dict[str, Any]:
        """The step as JSON values, as it is stored."""
        return {"name": self.name, "startedAt": rfc3339(self.began), "finishedAt": self.ended and rfc3339(self.ended)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> StepTime:
        """Read what `to_dict` wrote."""
        ended = stored.get("finishedAt")
        began = datetime.fromisoformat(stored["startedAt"])
        return cls(stored["name"], began, datetime.fromisoformat(ended) if ended else None)


def rfc3339(time: datetime) -> str:
    """The time in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
