"""What a Job and its pods tell about an attempt: one function of what the API server says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from projectsetup.engines.jobs.plan import Plan, PlannedStep
    from projectsetup.setup.errors import InfrastructureError
    from projectsetup.setup.outcome import SetupOutcome
    from projectsetup.setup.scrub import Scrubber

Body = Mapping[str, Any]
"""An object as the API server tells it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no Job."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The Job is a tombstone: the attempt was never started and never will be."""


@dataclass(frozen=True, slots=True)
class Starting:
    """No step runs yet, or not any more because the Job replaces a pod that was taken away.

    `why`: one line for people, or None when nothing is known. `limit`: when it becomes `Broken` if nothing changes, so
    that somebody looks again then; None when it may wait as long as it takes.
    """

    why: str | None
    limit: datetime | None


@dataclass(frozen=True, slots=True)
class Working:
    """Container `stage` of `pod` runs or is about to, and `step` is the first step of it; `completed` are before it.

    Which step of the stage is the current one is told by the log of the container alone.
    """

    pod: str
    stage: str
    step: PlannedStep
    completed: int
    running: bool


@dataclass(frozen=True, slots=True)
class Over:
    """The attempt has an outcome, and nothing of it is alive."""

    outcome: SetupOutcome


@dataclass(frozen=True, slots=True)
class Broken:
    """The attempt broke. Something of it may be left, unless its Job is over."""

    error: InfrastructureError


Sight = Gone | Tombstone | Starting | Working | Over | Broken


def sight(
    job: Body | None,
    pods: Sequence[Body],
    *,
    plan: Plan,
    scrubber: Scrubber,
    now: datetime,
    start_limit: float,
    events: Sequence[str] = (),
    at_step: str | None = None,
) -> Sight:
    """What the Job and the pods that belong to it mean.

    `start_limit`: seconds that a pod may take to start. `events`: messages of the newest warnings about the Job and its
    pods, newest first. `at_step`: the step that the log has told of last.

    Success is told only by a pod that succeeded and reports of all its steps; whatever is not understood is Broken.
    """
    raise NotImplementedError
