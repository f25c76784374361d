"""The attempts that any version of `.status` reports as started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.chaos.history import Version


@dataclass(slots=True)
class ReportedAttempts:
    """Of one project: how often each attempt number was told as started, and given back."""

    started: Counter[int] = field(default_factory=Counter)
    given_back: Counter[int] = field(default_factory=Counter)
    burned: set[tuple[int, str]] = field(default_factory=set)
    """Attempts that a crash has ended, by number and start."""
    problems: list[str] = field(default_factory=list)
    _used: int = 0
    _running: bool = False


def read_attempts(versions: Sequence[Version]) -> ReportedAttempts:
    """An attempt may be told as started when its number follows on those used; given back, it is used no longer.

    `problems` names each version in which that is not so.
    """
    told = ReportedAttempts()
    uid = None
    for version in versions:
        if version.body is None or version.body["metadata"]["uid"] != uid:
            told._used, told._running = 0, False
            uid = version.body["metadata"]["uid"] if version.body else None
        _take_in(told, version)
    return told


def _take_in(told: ReportedAttempts, version: Version) -> None:
    status = version.status
    number, running = status.get("attempt") or 0, "runRef" in status
    if running and (not told._running or number != told._used):
        told.started[number] += 1
        if told._running or number != told._used + 1:
            told.problems.append(f"revision {version.revision}: {number} started after {told._used}")
    elif told._running and not running and number == told._used - 1:
        told.given_back[told._used] += 1
    elif number != told._used and not (number == 0 and not told._running):  # 0: a new series
        told.problems.append(f"revision {version.revision}: {number} after {told._used}")
    for record in status.get("attempts", ()):
        if record["reason"] == "Interrupted":
            told.burned.add((record["number"], record["startedAt"]))
    told._used, told._running = number, running
