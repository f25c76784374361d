"""What is true now about one ProjectSetup: all that a decision may look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from projectsetup.api.models import ProjectSetupResource
from projectsetup.controller.claimability import ClaimRefusal
from projectsetup.projects.model import Project
from projectsetup.setup.errors import InfrastructureError
from projectsetup.setup.outcome import SetupFailed, SetupSucceeded
from projectsetup.setup.updates import Progress


class StopCause(StrEnum):
    """Why a running attempt was asked to stop."""

    CANCEL = "cancel"
    SUSPEND = "suspend"
    DELETED = "deleted"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease lost"
    FENCED = "fenced"
    """The record's fence moved on: this attempt no longer speaks for the project."""


@dataclass(frozen=True, slots=True)
class AttemptStopped:
    """The attempt ended because it was asked to, and nothing of it is alive."""

    cause: StopCause


RunOutcome = SetupSucceeded | SetupFailed | InfrastructureError | AttemptStopped


@dataclass(frozen=True, slots=True)
class RunView:
    """What this operator's engine knows of an attempt that it started; `outcome` is None while it runs."""

    uid: str
    attempt: int
    fence: int
    progress: Progress
    stopping: StopCause | None = None
    outcome: RunOutcome | None = None
    left_running: bool = False
    """It goes on without this operator, which no longer follows it."""


@dataclass(frozen=True, slots=True)
class RecordRead:
    """The project's record; None when there is no such project for the namespace of the ProjectSetup.

    `hidden` says why. It stands in the place of a project of another namespace: what is not here cannot leak.
    """

    project: Project | None
    hidden: ClaimRefusal | None = None


@dataclass(frozen=True, slots=True)
class RecordUnavailable:
    """The database did not answer; `message` says why, in one line."""

    message: str


@dataclass(frozen=True, slots=True)
class RecipePlan:
    """The first step and the number of steps of the recipe that the resource names."""

    first_step: str = ""
    first_status: str = ""
    total: int = 0
    digest: str | None = None
    """By which the engine knows again what it was told to run, where that is kept out of the operator's reach."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is true about one ProjectSetup at `now`.

    `record` is None when it was not read because nothing can depend on it (see `lifecycle.needs_record`).
    `slot` tells whether one of the operator's slots is held for this resource. `input_problem` is what is wrong with
    the recipe, its parameters, the repository addresses or the Secret with the credentials, `missing_dependency` which
    recipe or Secret does not exist. `luck` is from 0 to 1, `token` is a few random
    letters for the name of a run; empty without a slot.
    """

    resource: ProjectSetupResource
    now: datetime
    run: RunView | None = None
    record: RecordRead | RecordUnavailable | None = None
    recipe: RecipePlan = RecipePlan()
    input_problem: str | None = None
    missing_dependency: str | None = None
    dependency_limit: timedelta = timedelta(minutes=10)
    """How long a missing dependency is waited for."""
    slot: bool = False
    engine: str = "local"
    engine_outlives_operator: bool = False
    """Whether what this engine has started goes on when its operator ends."""
    last_progress_write: datetime | None = None
    luck: float = 0.0
    token: str = ""
    prepared_fence: int | None = None
    """The fence under which this operator has prepared the attempt that `.status` tells as running, without knowing
    whether that was written; it was not started."""
    owner_is_active: bool = False
    """Whether the other owner that holds the claim was looked up, is there, and its setup is not over."""


PROGRESS_INTERVAL = timedelta(seconds=1)
"""Between the two ends of an attempt `.status` is written at most once in this time."""
