"""The four conditions of `.status`, and the phase that people read instead.

`Succeeded` is the truth; kstatus' `Ready`, `Reconciling` and `Stalled` follow from it:

| Succeeded | Ready | Reconciling | Stalled |
|---|---|---|---|
| True | True | False | False |
| False (failed or cancelled) | False | False | True |
| Unknown, `Suspended` | False | False | False |
| Unknown, otherwise | False | True | False |

A suspended setup is not ready, nothing is at work on it, and nothing is wrong with it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from projectsetup.api.fields import cut_message
from projectsetup.api.reasons import Phase, Reason
from projectsetup.api.status import Condition, ConditionStatus, RunRef

if TYPE_CHECKING:
    from collections.abc import Iterable

SUCCEEDED: Final = "Succeeded"
READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"

_PHASES: Final = {
    Reason.QUEUED: Phase.QUEUED,
    Reason.RUNNING: Phase.RUNNING,
    Reason.RETRY_SCHEDULED: Phase.BACKING_OFF,
    Reason.SUSPENDED: Phase.SUSPENDED,
}


def conditions_for(
    *,
    status: ConditionStatus,
    reason: Reason,
    message: str,
    generation: int,
    previous: Iterable[Condition],
    now: datetime,
) -> tuple[Condition, ...]:
    """All four conditions when `Succeeded` has this status, reason and message.

    A condition keeps its time of transition from `previous` until its status changes. A condition that tells that all
    is well with its own concern (`Reconciling` or `Stalled` is False) has no message.
    """
    before = {condition.type: condition for condition in previous}
    second = now.astimezone(UTC).replace(microsecond=0)
    text = cut_message(message)

    def condition(kind: str, value: ConditionStatus, message: str) -> Condition:
        old = before.get(kind)
        return Condition(
            type=kind,
            status=value,
            reason=reason,
            message=message,
            last_transition_time=old.last_transition_time if old is not None and old.status == value else second,
            observed_generation=generation,
        )

    reconciling = status == "Unknown" and reason is not Reason.SUSPENDED
    stalled = status == "False"
    return (
        condition(SUCCEEDED, status, text),
        condition(READY, _truth(status == "True"), text),
        condition(RECONCILING, _truth(reconciling), text if reconciling else ""),
        condition(STALLED, _truth(stalled), text if stalled else ""),
    )


def succeeded_condition(conditions: Iterable[Condition]) -> Condition | None:
    """The condition that tells whether the setup is over; None as long as no operator has seen the resource."""
    return next((condition for condition in conditions if condition.type == SUCCEEDED), None)


def phase_of(conditions: Iterable[Condition], run_ref: RunRef | None) -> Phase:
    """The phase that the conditions amount to; `run_ref` tells whether what waits for the database is running."""
    succeeded = succeeded_condition(conditions)
    if succeeded is None:
        return Phase.QUEUED
    if succeeded.status == "True":
        return Phase.SUCCEEDED
    if succeeded.status == "False":
        return Phase.CANCELLED if succeeded.reason == Reason.CANCELLED else Phase.FAILED
    waiting = Phase.QUEUED if run_ref is None else Phase.RUNNING
    return next((phase for reason, phase in _PHASES.items() if reason == succeeded.reason), waiting)


def _truth(value: bool) -> ConditionStatus:
    return "True" if value else "False"
