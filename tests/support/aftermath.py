"""What an operator leaves that is killed while it has much to do, and what happens before another one comes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

from projectsetup.api.models import Failure
from projectsetup.api.reasons import Reason
from projectsetup.controller.outcome import AttemptEnd, EndKind
from tests.support.operator_stage import Stage
from tests.support.setup_handle import Setup, Steps

LATER: Final = {"backoff": "1h"}


def record_end(setup: Setup, end: AttemptEnd) -> None:
    """Write the end of an attempt to the record, as an operator does that dies before it writes `.status`."""
    with psycopg.connect(setup.stage.database_url) as connection:
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
        message=f"told to the record alone: {kind}",
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
"""Ends that only the record knows, by the phase that they amount to."""


class Aftermath:
    """What there was to do when the operator was killed, and went on with while it was dead."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self._folder = folder
        self._steps: dict[str, Steps] = {}
        self.interrupted = self._running("interrupted")
        self.ended = {phase: self._running(phase) for phase in ENDS}
        self.returned = self._running("returned")
        self.untold = self._running("untold")
        self.deleted = self._running("deleted")
        self.cancelled = self._running("cancelled")
        self.delayed = self._failing()
        self.cancelled_late = self._failing()
        self.retried = Setup.make(stage, "scripts", first='[ -e "$PARAM_PLACE/go" ] || exit 1', place=str(folder))
        for name, setup in self._by_name().items():
            self._steps[name].await_start(setup)
        self.delay = self.delayed.reached("BackingOff")
        self.cancelled_late.reached("BackingOff")
        self.retried.ended()

    def steps(self, name: str) -> Steps:
        """The steps of one of the setups that ran."""
        return self._steps[name]

    def happen(self) -> None:
        """What happens while no operator is there."""
        for phase, end in ENDS.items():
            record_end(self.ended[phase], end)
        record_end(self.returned, an_end(EndKind.RELEASED, Reason.QUEUED))
        self._steps["returned"].let_go()
        record_end(self.untold, ENDS["Succeeded"])
        nothing = {"conditions": None, "phase": None, "runRef": None, "attempt": None}
        self.untold.api.patch_status(self.untold.name, nothing)
        self.deleted.delete()
        for setup in (self.cancelled, self.cancelled_late):
            setup.annotate(cancel_requested_at="1")
        (self._folder / "go").touch()
        self.retried.annotate(retry_requested_at="1")
        self.records = {phase: setup.record for phase, setup in self.ended.items()}
        self.claimed = self._claimed()

    def close(self) -> None:
        """Let no step wait for ever."""
        for steps in self._steps.values():
            steps.let_go()

    def _by_name(self) -> dict[str, Setup]:
        alone = {name: getattr(self, name) for name in ("interrupted", "returned", "untold", "deleted", "cancelled")}
        return {**alone, **self.ended}

    def _running(self, name: str) -> Setup:
        self._steps[name] = Steps(self._folder / name)
        return Setup.gated(self.stage, self._steps[name], annotations=LATER)

    def _failing(self) -> Setup:
        return Setup.make(self.stage, "scripts", first='[ "$ATTEMPT" -gt 1 ] || exit 75', annotations=LATER)

    def _claimed(self) -> Setup:
        """Claimed by an operator that died before it wrote `.status`."""
        self._steps["claimed"] = Steps(self._folder / "claimed")
        self._steps["claimed"].let_go()
        setup = Setup.gated(self.stage, self._steps["claimed"])
        with psycopg.connect(self.stage.database_url) as connection:
            connection.execute(
                "UPDATE projects SET status = 'compiling', owner_uid = %s, owner_namespace = %s, owner_name = id, "
                "attempt = 1, fence = 1 WHERE id = %s",
                (setup.body["metadata"]["uid"], self.stage.api.namespace, setup.name),
            )
        return setup
