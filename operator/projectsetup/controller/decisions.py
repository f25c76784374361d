"""What to do next: frozen values that the reconciler carries out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from projectsetup.api.models import ProjectSetupStatus, RunRef
from projectsetup.api.spec import ProjectFields
from projectsetup.controller.events import Event
from projectsetup.controller.outcome import AttemptEnd, StopCause
from projectsetup.projects.model import Owner
from projectsetup.setup.types import Progress


@dataclass(frozen=True, slots=True)
class Requeue:
    """Do nothing now; reconcile again at `until`, or on the next event if it is None."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Write `.status` only, then post the events; reconcile again at `until` if it is given."""

    status: ProjectSetupStatus
    events: tuple[Event, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class CreateProject:
    """No project has this id: create it from `spec.project`, then read again."""

    project: ProjectFields


@dataclass(frozen=True, slots=True)
class AwaitDependency:
    """A recipe or Secret does not exist: write `.status`; reconcile again when it exists, or at `until`."""

    status: ProjectSetupStatus
    until: datetime
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitForSlot:
    """It may start but holds no slot: claim the project, report that it is queued, wait for a slot."""

    status: ProjectSetupStatus
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Claim the project for attempt `number`, write `.status`, then start the attempt, in this order."""

    number: int
    project_status: str
    status: ProjectSetupStatus
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class StartPrepared:
    """`.status` reports the prepared attempt, although the response to that write was lost: start the attempt."""


@dataclass(frozen=True, slots=True)
class AnnounceStart:
    """The attempt has run for long enough: post the event of its start."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class AdoptAttempt:
    """`.status` reports an attempt that outlived the operator that started it: claim it and follow it."""

    number: int
    run: RunRef
    progress: Progress


@dataclass(frozen=True, slots=True)
class StopRun:
    """Ask the running attempt to stop; its end comes back as a fact."""

    cause: StopCause


@dataclass(frozen=True, slots=True)
class RecordEnd:
    """Write the end to the record under `fence` (None: claim first), then to `.status`."""

    end: AttemptEnd
    fence: int | None
    status: ProjectSetupStatus
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class StepDown:
    """Another operator works on this project: write nothing and exit."""

    message: str


@dataclass(frozen=True, slots=True)
class ReleaseOwner:
    """Another ProjectSetup holds the project: release the claim if that owner is gone or has ended; then read again."""

    owner: Owner


@dataclass(frozen=True, slots=True)
class ReleaseClaim:
    """The resource was deleted and nothing of it runs: release its project.

    With `ready_fence`, its last attempt had succeeded: mark the project ready under that fence first.
    """

    ready_fence: int | None = None


Action = (
    Requeue
    | WriteStatus
    | AwaitDependency
    | WaitForSlot
    | StartAttempt
    | StartPrepared
    | AnnounceStart
    | AdoptAttempt
    | StopRun
    | RecordEnd
    | StepDown
)
Decision = Action | CreateProject | ReleaseOwner
"""After `CreateProject` and `ReleaseOwner` the facts must be read again in any case."""
