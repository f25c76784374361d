"""What to do next: frozen values that the reconciler carries out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from projectsetup.api.models import ProjectSetupStatus, RunRef
from projectsetup.api.reasons import EventReason
from projectsetup.controller.attempt_end import AttemptEnd
from projectsetup.controller.facts import StopCause
from projectsetup.projects.model import Owner
from projectsetup.setup.updates import Progress


@dataclass(frozen=True, slots=True)
class Notice:
    """An event to leave on the resource."""

    reason: EventReason
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do; look again at `until` when it is given."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Write `.status` alone, then leave the notices; look again at `until` when it is given."""

    status: ProjectSetupStatus
    notices: tuple[Notice, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AwaitDependency:
    """A recipe or Secret does not exist: write `.status`, then look again when it is there, or at `until`."""

    status: ProjectSetupStatus
    until: datetime
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class StandInLine:
    """It may start but holds no slot: claim the project, tell that it is queued, wait for a slot."""

    status: ProjectSetupStatus
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Claim the project for attempt `number`, write `.status`, then start, in this order."""

    number: int
    project_status: str
    status: ProjectSetupStatus
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class BeginAttempt:
    """`.status` tells of a prepared attempt after all, although the answer to that write was lost: start it."""

    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class AdoptAttempt:
    """`.status` tells of an attempt that goes on without the operator that started it: claim it, and follow it."""

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
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseOwner:
    """Another ProjectSetup holds the project: free it if that owner is gone or its setup is over, then look again."""

    owner: Owner


@dataclass(frozen=True, slots=True)
class StepDown:
    """Another operator works on this project: write nothing and end."""

    message: str


@dataclass(frozen=True, slots=True)
class ReleaseClaim:
    """The resource is gone and nothing of it runs: free its project.

    With `ready_fence` the deleted resource's last attempt had succeeded: the project is marked ready under it first.
    """

    ready_fence: int | None = None


Decision = (
    Rest
    | WriteStatus
    | AwaitDependency
    | StandInLine
    | StartAttempt
    | BeginAttempt
    | AdoptAttempt
    | StopRun
    | RecordEnd
    | ReleaseOwner
    | StepDown
)
