"""The invariants that hold after every fault run, and the figures that are printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.chaos.fault_run import FaultRun, Setup
from tests.support.chaos.history import Body, Version
from tests.support.operator_sandbox import Row, reason

ENDS: Final = {"failing": {"StepFailed"}}
"""The ends that a mood may come to; the other moods succeed."""
RECORDED: Final = {"Succeeded": "ready", "Failed": "failed", "Cancelled": "failed"}


@dataclass(slots=True)
class Figures:
    """What was counted."""

    setups: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    started: int = 0
    """Attempts that were told as started."""
    run: int = 0
    """Attempts of which a process ran."""
    burned: int = 0
    given_back: int = 0
    looks: int = 0

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in self.ends.items())
        return (
            f"{self.setups} setups ended ({ends}); {self.started} attempts started, of {self.run} a process ran, "
            f"{self.burned} interrupted, {self.given_back} given back; none twice, never two of a project at once "
            f"({self.looks} looks at /proc)"
        )


def check_invariants(fault_run: FaultRun) -> Figures:
    """Check every setup, its record and its attempts, and count."""
    rows, starts = fault_run.record.rows(), fault_run.starts()
    figures = Figures(setups=len(fault_run.setups), ends=_ends(fault_run))
    overlaps = fault_run.watcher.overlaps(fault_run.setups)
    assert overlaps == [], f"two attempts of a project at once: {overlaps[:3]}"
    for project, setup in fault_run.setups.items():
        told = read_attempts(fault_run.history.versions[project])
        ran = starts.get(project, {})
        _check_attempts(project, told, ran)
        _check_end(setup, fault_run.status(setup), rows[project])
        figures.started += told.started.total()
        figures.run += sum(ran.values())
        figures.burned += len(told.burned)
        figures.given_back += told.given_back.total()
    figures.looks = fault_run.watcher.looks - fault_run.looks_before
    return figures


def _ends(fault_run: FaultRun) -> dict[str, int]:
    setups = fault_run.setups.values()
    found = Counter("deleted" if setup.deleted else fault_run.status(setup)["phase"] for setup in setups)
    return dict(sorted(found.items()))


def _check_attempts(project: str, told: ReportedAttempts, ran: dict[int, int]) -> None:
    assert told.problems == [], f"{project}: {told.problems}"
    for number, times in ran.items():
        assert times <= told.started[number], f"{project}: attempt {number} ran {times} times, told {told.started}"


def _check_end(setup: Setup, status: Body, row: Row) -> None:
    if setup.deleted:
        assert row["owner_uid"] is None, f"the claim of deleted {setup} is held: {row}"
        assert row["status"] in {"created", "ready", "failed"}, f"deleted {setup}: {row}"
        return
    allowed = ENDS.get(setup.mood, {"SetupSucceeded"}) | ({"Cancelled"} if setup.cancelled else set())
    if status["attempt"] == status["maxAttempts"]:  # so often was it hit
        allowed.add("AttemptsExhausted")
    assert reason(status) in allowed, f"{setup} ended otherwise: {status}"
    assert row["status"] == RECORDED[status["phase"]], f"{setup}: {row} does not agree with {status}"
    assert row["attempt"] == status["attempt"], f"{setup}: {row} does not agree with {status}"
    error = row["setup_error"]
    assert (error or {}).get("reason") == (None if error is None else reason(status))
    assert (error is None) is (row["status"] == "ready"), f"{setup}: {row}"


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
