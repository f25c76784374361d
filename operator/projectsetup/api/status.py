"""`.status` of a ProjectSetup: its fields, its four conditions and the phase that summarizes them.

The docstrings of the fields are their descriptions in the CRD. Reading is tolerant: unknown fields are ignored, long
texts are cut.

`Succeeded` is the source of truth; kstatus' `Ready`, `Reconciling` and `Stalled` follow from it:

| Succeeded | Ready | Reconciling | Stalled |
|---|---|---|---|
| True | True | False | False |
| False (failed or cancelled) | False | False | True |
| Unknown, `Suspended` | False | False | False |
| Unknown, otherwise | False | True | False |

A suspended setup is not ready, makes no progress and has no problem.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from projectsetup.api.fields import AnnotationValue, Count, DueTime, Generation, Message, Timestamp, Word, cut_message
from projectsetup.api.reasons import AttemptOutcome, Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

ConditionStatus = Literal["True", "False", "Unknown"]

_STATUS = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True)


class Condition(BaseModel):
    """One aspect of the current state, a metav1.Condition."""

    model_config = _STATUS

    type: Annotated[str, Field(json_schema_extra={"maxLength": 316})]
    """`Succeeded`, or one of kstatus' `Ready`, `Reconciling` and `Stalled`."""
    status: ConditionStatus
    """Status of the condition: True, False or Unknown."""
    reason: Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": 1024})]
    """Reason, one CamelCase word."""
    message: Message
    """Details for people."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    observed_generation: Generation | None = None
    """The `metadata.generation` that this condition is about."""


class RunRef(BaseModel):
    """The run of the current attempt."""

    model_config = _STATUS

    engine: Word
    """The engine: `local` or `job`."""
    name: Word
    """Name of the run; for the engine `job`, of the Job."""
    id: Word
    """Id of the run, unique within its engine."""


class Failure(BaseModel):
    """The last failure."""

    model_config = _STATUS

    reason: Word
    """Reason, one CamelCase word."""
    message: Message
    """What went wrong, for people."""
    step: Word | None = None
    """The step that failed; absent if none had started."""
    exit_code: Annotated[int, Field(json_schema_extra={"format": "int32"})] | None = None
    """Exit code of the step; absent if it did not exit by itself."""
    retryable: bool
    """Whether another attempt may succeed."""


class AttemptRecord(BaseModel):
    """A finished attempt."""

    model_config = _STATUS

    number: Count
    """Number of the attempt in its series, from 1."""
    started_at: Timestamp
    """When it started."""
    finished_at: Timestamp
    """When it ended."""
    outcome: AttemptOutcome
    """How it ended."""
    reason: Word
    """Reason, one CamelCase word."""
    message: Message
    """Details for people."""
    step: Word | None = None
    """The step that failed."""


class Commits(BaseModel):
    """Ids of the pushed commits."""

    model_config = _STATUS

    code_repo: Word | None = None
    """The commit pushed to the project's code repository."""
    docs_repo: Word | None = None
    """The commit pushed to the project's documentation repository."""


class ProjectSetupStatus(BaseModel):
    """The state of the setup. Only the operator writes it."""

    model_config = _STATUS

    observed_generation: Annotated[int, Field(json_schema_extra={"format": "int64", "minimum": -1})] | None = None
    """The `metadata.generation` that this status is about; -1 until an operator has seen the object."""
    phase: Phase | None = None
    """Summary for people, derived from the conditions."""
    project_name: Word | None = None
    """The project's name."""
    project_status: Word | None = None
    """The project's own status, such as `compiling` or `ready`."""
    step: Word | None = None
    """Name of the current step, or of the last one."""
    progress: Word | None = None
    """Completed steps and the total number of steps, such as `3/7`."""
    attempt: Count = 0
    """Attempts started in this series."""
    max_attempts: Count | None = None
    """Limit of attempts in this series."""
    queued_at: Timestamp | None = None
    """When this series was queued."""
    started_at: Timestamp | None = None
    """When the last attempt started."""
    finished_at: Timestamp | None = None
    """When the setup succeeded, failed or was cancelled."""
    next_attempt_at: DueTime | None = None
    """When the next attempt is due, while backing off."""
    dependency_missing_since: Timestamp | None = None
    """Since when the setup has been waiting for a Secret or recipe that the spec names; absent if it is not."""
    run_ref: RunRef | None = None
    """The run of the current attempt; absent while none runs."""
    failure: Failure | None = None
    """The last failure; absent after success."""
    attempts: Annotated[
        tuple[AttemptRecord, ...], Field(json_schema_extra={"maxItems": 10, "x-kubernetes-list-type": "atomic"})
    ] = ()
    """The last 10 finished attempts, oldest first."""
    commits: Commits | None = None
    """Ids of the pushed commits."""
    last_handled_retry: AnnotationValue | None = None
    """The last value of the annotation `setup.codemyspec.com/retry-requested-at` that was handled."""
    last_handled_cancel: AnnotationValue | None = None
    """The last value of the annotation `setup.codemyspec.com/cancel-requested-at` that was handled."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            json_schema_extra={
                "maxItems": 16,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            }
        ),
    ] = ()
    """`Succeeded` (Unknown until the setup has finished) and kstatus' `Ready`, `Reconciling` and `Stalled`."""


def status_to_dict(status: ProjectSetupStatus) -> dict[str, Any]:
    """`status` as the API server takes it: camelCase, without absent fields, times in UTC."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def stored_status(status: ProjectSetupStatus) -> dict[str, Any]:
    """A parsed status as the API server stores it: `status_to_dict` without defaults that were never written."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


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
    """All four conditions for a `Succeeded` with this status, reason and message.

    A condition keeps the transition time it has in `previous` until its status changes. `Reconciling` and `Stalled`
    have no message while they are False.
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
    """The condition `Succeeded`; None until an operator has seen the resource."""
    return next((condition for condition in conditions if condition.type == SUCCEEDED), None)


def phase_of(conditions: Iterable[Condition], run_ref: RunRef | None) -> Phase:
    """The phase for these conditions; with `run_ref`, a setup that waits for the database is running."""
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
