"""What is true now about one ProjectSetup: all that a decision may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.steps import StepTime
from projectsetup.controller.claims import ClaimRefusal
from projectsetup.controller.outcome import RunOutcome, StopCause
from projectsetup.projects.model import Project
from projectsetup.setup.types import Progress


@dataclass(frozen=True, slots=True)
class Origin:
    """What an attempt was started for and with, for its history; None: not known."""

    namespace: str
    uid: str
    run_name: str | None
    queued_at: datetime | None
    """When its series began."""
    started_at: datetime
    recipe: str | None
    recipe_digest: str | None


@dataclass(frozen=True, slots=True)
class RunView:
    """What this operator knows of an attempt that it started; `outcome` is None while the attempt runs."""

    uid: str
    attempt: int
    fence: int
    progress: Progress
    stopping: StopCause | None = None
    outcome: RunOutcome | None = None
    origin: Origin | None = None
    steps: tuple[StepTime, ...] = ()
    """The steps that have begun, once there is an outcome."""
    left_running: bool = False
    """It continues without this operator, which no longer follows it."""
    announce_at: datetime | None = None
    """When its start becomes an event, if it still runs then; None once it is one."""


@dataclass(frozen=True, slots=True)
class RecordRead:
    """The project's record; None if the namespace of the ProjectSetup has no such project.

    `hidden` says why. It replaces a project of another namespace: what is not here cannot leak.
    """

    project: Project | None
    hidden: ClaimRefusal | None = None
    exists: bool = True
    """Whether any project has this id, visible or not."""


@dataclass(frozen=True, slots=True)
class RecordUnavailable:
    """The database did not answer; `message` says why in one line."""

    message: str


@dataclass(frozen=True, slots=True)
class RecipePlan:
    """The first step, and how many steps there are, of the recipe that the resource names."""

    first_step: str = ""
    first_status: str = ""
    total: int = 0
    digest: str | None = None
    """Identifies the plan where others could change it, see `Engine.digest`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is true about one ProjectSetup at `now`."""

    resource: ProjectSetupResource
    now: datetime
    run: RunView | None = None
    record: RecordRead | RecordUnavailable | None = None
    """None if it was not read because no decision can depend on it, see `lifecycle.needs_record`."""
    recipe: RecipePlan = RecipePlan()
    projects_from_spec: bool = True
    """Whether the operator creates projects from `spec.project`."""
    creation_problem: str | None = None
    """Why the project of `spec.project` cannot be created."""
    input_problem: str | None = None
    """What is wrong with the recipe, its parameters, the repository addresses or the credentials Secret."""
    missing_dependency: str | None = None
    """The recipe or Secret that does not exist."""
    dependency_limit: timedelta = timedelta(minutes=10)
    """How long to wait for a missing dependency."""
    slot: bool = False
    """Whether the resource holds one of the operator's slots."""
    engine: str = "local"
    engine_outlives_operator: bool = False
    """Whether attempts continue when the operator ends, see `Engine`."""
    last_progress_write: datetime | None = None
    jitter: float = 0.0
    """A random number from 0 to 1."""
    token: str = ""
    """A few random letters for the name of a run; empty without a slot."""
    prepared_fence: int | None = None
    """The fence of an attempt that this operator has prepared but not started, since it does not know whether `.status`
    was written; None if there is none."""
    owner_is_active: bool = False
    """Whether another owner of the claim was looked up, exists, and its setup has not ended."""


PROGRESS_INTERVAL = timedelta(seconds=1)
"""While an attempt runs, `.status` is written at most once in this time."""
ANNOUNCED_AFTER = timedelta(seconds=1)
"""The start of an attempt is an event only if the attempt runs for this time: the event of its end says as much."""
