"""What must hold once all setups of a fault run have ended, whatever happened meanwhile; and its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.support.chaos.fault_run import FaultRun, FaultSetup
from tests.support.chaos.setup_history import Body, Version
from tests.support.operator_sandbox import Row, reason

REASONS: Final = {"failing": {"StepFailed"}}
"""The final reasons that a behavior allows; setups of other behaviors succeed."""
RECORDED: Final = {"Succeeded": "ready", "Failed": "failed", "Cancelled": "failed"}


@dataclass(slots=True)
class Figures:
    """Counts of setups and attempts."""

    setups: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    started: int = 0
    """Attempts that `.status` reported as started."""
    ran: int = 0
    """Attempts of which a process ran."""
    interrupted: int = 0
    released: int = 0
    scans: int = 0

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in self.ends.items())
        return (
            f"{self.setups} setups ended ({ends}); {self.started} attempts started, {self.ran} ran a process, "
            f"{self.interrupted} interrupted, {self.released} released; none ran twice, never two of a project at once "
            f"({self.scans} scans of /proc)"
        )


@dataclass(slots=True)
class ReportedAttempts:
    """What `.status` of one project reported: how often each attempt number was started and released."""

    started: Counter[int] = field(default_factory=Counter)
    released: Counter[int] = field(default_factory=Counter)
    interrupted: set[tuple[int, str]] = field(default_factory=set)
    """Number and start time of attempts that a crash ended."""
    problems: list[str] = field(default_factory=list)
    """Versions whose attempt number does not follow from the versions before."""
    _used: int = 0
    _running: bool = False

    @classmethod
    def read(cls, versions: Sequence[Version]) -> ReportedAttempts:
        """Read every version of `.status`; a started attempt must be the next number, a released one is free again."""
        reported, uid = cls(), None
        for version in versions:
            if version.body is None or version.body["metadata"]["uid"] != uid:
                reported._used, reported._running = 0, False
                uid = version.body["metadata"]["uid"] if version.body else None
            reported._add(version)
        return reported

    def _add(self, version: Version) -> None:
        status = version.status
        number, running = status.get("attempt") or 0, "runRef" in status
        if running and (not self._running or number != self._used):
            self.started[number] += 1
            if self._running or number != self._used + 1:
                self.problems.append(f"revision {version.revision}: {number} started after {self._used}")
        elif self._running and not running and number == self._used - 1:
            self.released[self._used] += 1
        elif number != self._used and not (number == 0 and not self._running):  # 0: a new series
            self.problems.append(f"revision {version.revision}: {number} after {self._used}")
        for attempt in status.get("attempts", ()):
            if attempt["reason"] == "Interrupted":
                self.interrupted.add((attempt["number"], attempt["startedAt"]))
        self._used, self._running = number, running


def check_invariants(run: FaultRun) -> Figures:
    """Check every setup, its record and its attempts, and count them."""
    rows, starts = run.audit_log.rows(), run.starts()
    overlaps = run.watcher.overlaps(run.setups)
    assert overlaps == [], f"two attempts of a project ran at once: {overlaps[:3]}"
    ends = Counter("deleted" if setup.deleted else run.status(setup)["phase"] for setup in run.setups.values())
    figures = Figures(setups=len(run.setups), ends=dict(sorted(ends.items())))
    for project, setup in run.setups.items():
        reported = ReportedAttempts.read(run.history.versions[project])
        ran = starts.get(project, {})
        assert reported.problems == [], f"{project}: {reported.problems}"
        for number, times in ran.items():
            assert times <= reported.started[number], f"{project}: attempt {number} ran {times} times: {reported}"
        _check_end(setup, run.status(setup), rows[project])
        figures.started += reported.started.total()
        figures.ran += sum(ran.values())
        figures.interrupted += len(reported.interrupted)
        figures.released += reported.released.total()
    figures.scans = run.watcher.scans - run.scans_before
    return figures


def _check_end(setup: FaultSetup, status: Body, row: Row) -> None:
    if setup.deleted:
        assert row["owner_uid"] is None, f"deleted {setup} still holds its claim: {row}"
        assert row["status"] in {"created", "ready", "failed"}, f"deleted {setup}: {row}"
        return
    allowed = REASONS.get(setup.behavior, {"SetupSucceeded"}) | ({"Cancelled"} if setup.cancelled else set())
    if status["attempt"] == status["maxAttempts"]:  # faults consumed every attempt
        allowed.add("AttemptsExhausted")
    assert reason(status) in allowed, f"unexpected end of {setup}: {status}"
    assert row["status"] == RECORDED[status["phase"]], f"{setup}: {row} disagrees with {status}"
    assert row["attempt"] == status["attempt"], f"{setup}: {row} disagrees with {status}"
    error = row["setup_error"]
    assert (error or {}).get("reason") == (None if error is None else reason(status))
    assert (error is None) is (row["status"] == "ready"), f"{setup}: {row}"
