"""An operator is killed during attempts, resources change while none runs, and the next operator continues."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg.types.json import Jsonb

from projectsetup.api.models import Failure
from projectsetup.api.reasons import Reason
from projectsetup.controller.outcome import AttemptEnd, EndKind
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import Sandbox, message
from tests.support.setup_handle import Setup, Steps

LATER: Final = {"backoff": "1h"}


def record_end(setup: Setup, end: AttemptEnd) -> None:
    """Write the end of an attempt to the record, as by an operator that dies before it writes `.status`."""
    with psycopg.connect(setup.sandbox.database_url) as connection:
        error = Jsonb(end.setup_error) if end.setup_error else None
        connection.execute(
            "UPDATE projects SET status = %s, setup_error = %s, attempt_result = %s, fence = fence + 1 WHERE id = %s",
            (str(end.project_status), error, Jsonb(end.to_result()), setup.name),
        )


def an_end(kind: EndKind, reason: Reason, *, failure: Failure | None = None, due: datetime | None = None) -> AttemptEnd:
    return AttemptEnd(
        kind=kind,
        attempt=1,
        reason=reason,
        message=f"known to the record alone: {kind}",
        finished_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        failure=failure,
        next_attempt_at=due,
    )


ENDS: Final = {
    "Succeeded": an_end(EndKind.SUCCEEDED, Reason.SETUP_SUCCEEDED),
    "Failed": an_end(
        EndKind.FAILED,
        Reason.STEP_FAILED,
        failure=Failure(reason="StepFailed", message="no", step="wait", exit_code=3, retryable=False),
    ),
    "Cancelled": an_end(EndKind.CANCELLED, Reason.CANCELLED),
    "BackingOff": an_end(
        EndKind.RETRY,
        Reason.RETRY_SCHEDULED,
        failure=Failure(reason="StepTransient", message="later", step="wait", exit_code=75, retryable=True),
        due=datetime(2222, 1, 1, tzinfo=UTC),
    ),
}
"""Ends that only the record holds, by the phase that they lead to."""


class Crash:
    """The setups at the time of the kill, and their changes while no operator ran."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self._folder = folder
        self._steps: dict[str, Steps] = {}
        self.interrupted = self._running("interrupted")
        self.ended = {phase: self._running(phase) for phase in ENDS}
        self.released = self._running("released")
        self.unreported = self._running("unreported")
        self.deleted = self._running("deleted")
        self.cancelled = self._running("cancelled")
        self.delayed = self._failing()
        self.cancelled_late = self._failing()
        self.retried = Setup.make(sandbox, "scripts", first='[ -e "$PARAM_PLACE/go" ] || exit 1', place=str(folder))
        for name, setup in self._by_name().items():
            self._steps[name].await_start(setup)
        self.delay = self.delayed.reached("BackingOff")
        self.cancelled_late.reached("BackingOff")
        self.retried.ended()

    def steps(self, name: str) -> Steps:
        """The steps of one of the setups that ran."""
        return self._steps[name]

    def change_during_outage(self) -> None:
        """Change the setups while no operator runs."""
        for phase, end in ENDS.items():
            record_end(self.ended[phase], end)
        record_end(self.released, an_end(EndKind.RELEASED, Reason.QUEUED))
        self._steps["released"].release()
        record_end(self.unreported, ENDS["Succeeded"])
        nothing = {"conditions": None, "phase": None, "runRef": None, "attempt": None}
        self.unreported.api.patch_status(self.unreported.name, nothing)
        self.deleted.delete()
        for setup in (self.cancelled, self.cancelled_late):
            setup.annotate(cancel_requested_at="1")
        (self._folder / "go").touch()
        self.retried.annotate(retry_requested_at="1")
        self.records = {phase: setup.record for phase, setup in self.ended.items()}
        self.claimed = self._claimed()

    def close(self) -> None:
        """Let all steps end."""
        for steps in self._steps.values():
            steps.release()

    def _by_name(self) -> dict[str, Setup]:
        alone = {
            name: getattr(self, name) for name in ("interrupted", "released", "unreported", "deleted", "cancelled")
        }
        return {**alone, **self.ended}

    def _running(self, name: str) -> Setup:
        self._steps[name] = Steps(self._folder / name)
        return Setup.gated(self.sandbox, self._steps[name], annotations=LATER)

    def _failing(self) -> Setup:
        return Setup.make(self.sandbox, "scripts", first='[ "$ATTEMPT" -gt 1 ] || exit 75', annotations=LATER)

    def _claimed(self) -> Setup:
        """Claimed by an operator that died before it wrote `.status`."""
        self._steps["claimed"] = Steps(self._folder / "claimed")
        self._steps["claimed"].release()
        setup = Setup.gated(self.sandbox, self._steps["claimed"])
        with psycopg.connect(self.sandbox.database_url) as connection:
            connection.execute(
                "UPDATE projects SET status = 'compiling', owner_uid = %s, owner_namespace = %s, owner_name = id, "
                "attempt = 1, fence = 1 WHERE id = %s",
                (setup.body["metadata"]["uid"], self.sandbox.api.namespace, setup.name),
            )
        return setup


@pytest.fixture(scope="module")
def crash(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    """The state after the kill and the next start."""
    crash = Crash(sandbox, tmp_path_factory.mktemp("crash"))
    sandbox.operator.kill()
    assert crash.interrupted.status["phase"] == "Running"
    crash.change_during_outage()
    sandbox.operator.start()
    yield crash
    crash.close()


def test_a_running_attempt_is_interrupted_and_retried(crash: Crash) -> None:
    setup, steps = crash.interrupted, crash.steps("interrupted")
    status = setup.reached("BackingOff")
    assert (status["attempt"], status["failure"]["reason"], status["failure"]["retryable"]) == (1, "Interrupted", True)
    (attempt,) = status["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["reason"]) == (1, "Failed", "Interrupted")
    assert (setup.record["status"], setup.record["attempt"]) == ("setup_queued", 1)
    steps.release()
    setup.annotate(retry_requested_at="now")
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 2)
    assert steps.attempts == [1, 2]
    setup.wait_for_events("Started", "RetryScheduled", "RetryCoalesced", "Started", "Succeeded")


@pytest.mark.parametrize("phase", ENDS)
def test_an_end_that_only_the_record_holds_is_completed(crash: Crash, phase: str) -> None:
    setup, end = crash.ended[phase], ENDS[phase]
    status = setup.reached(phase)
    assert (status["attempt"], status["projectStatus"]) == (1, str(end.project_status))
    assert "runRef" not in status
    (attempt,) = status["attempts"]
    assert attempt["finishedAt"] == "2026-01-02T03:04:05Z"
    assert status.get("finishedAt") == (None if phase == "BackingOff" else "2026-01-02T03:04:05Z")
    assert status.get("nextAttemptAt") == ("2222-01-01T00:00:00Z" if phase == "BackingOff" else None)
    if end.failure is not None:
        assert status["failure"]["message"] == end.failure.message
        assert attempt["reason"] == end.failure.reason
    assert message(status) == end.message
    Setup.make(crash.sandbox).ended()
    assert setup.record == crash.records[phase]
    assert crash.steps(phase).attempts == [1]
    setup.wait_for_events("Started", "RetryScheduled" if phase == "BackingOff" else phase)


def test_a_release_that_only_the_record_holds_is_completed(crash: Crash) -> None:
    why, status = crash.released.ended()
    assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert crash.steps("released").attempts == [1, 1]


def test_an_unreported_success_is_never_repeated(crash: Crash) -> None:
    assert crash.unreported.ended()[0] == "SetupSucceeded"
    assert crash.steps("unreported").attempts == [1]


def test_a_claim_without_a_status_consumes_no_attempt(crash: Crash) -> None:
    why, status = crash.claimed.ended()
    assert (why, status["attempt"], len(status["attempts"])) == ("SetupSucceeded", 1, 1)
    assert crash.steps("claimed").attempts == [1]


def test_a_backoff_survives_the_operator(crash: Crash) -> None:
    setup = crash.delayed
    Setup.make(crash.sandbox).ended()  # it starts after all others were reconciled
    assert setup.status == crash.delay
    soon = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    setup.api.patch_status(setup.name, {"nextAttemptAt": soon})
    why, status = setup.ended()
    assert (why, status["attempt"]) == ("SetupSucceeded", 2)


def test_a_setup_deleted_during_the_outage_frees_its_project(crash: Crash) -> None:
    setup, steps = crash.deleted, crash.steps("deleted")
    wait_for(lambda: setup.record["owner_uid"] is None, "its project to be free")
    assert setup.record["status"] == "created"
    steps.release()
    assert Setup.gated(crash.sandbox, steps, project=setup.name).ended()[0] == "SetupSucceeded"


def test_requests_made_during_the_outage_are_handled(crash: Crash) -> None:
    assert crash.retried.ended_after_retry("1")[0] == "SetupSucceeded"
    assert crash.cancelled_late.ended()[0] == "Cancelled"
    assert crash.cancelled.ended()[0] == "Cancelled"
    assert crash.steps("cancelled").attempts == [1]
