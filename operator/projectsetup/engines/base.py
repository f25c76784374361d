"""The contract between the controller and the engines that run attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.recipes.model import Recipe
    from projectsetup.setup.credentials import GitCredentials
    from projectsetup.setup.log import AttemptLog
    from projectsetup.setup.types import ProgressCallback, SetupOutcome, SetupProject


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """Attempt `number` of a project under the record's `fence`, for the ProjectSetup `namespace`/`name` with `uid`.

    No other attempt has its `run_name`. `parameters` are complete and checked. `timeout`, in seconds, limits the whole
    attempt. `credentials_secret` names the Secret that holds `credentials`; it is set even if the operator may not
    read that Secret. `traceparents` are the values of TRACEPARENT, by step; without traces, there are none.
    """

    namespace: str
    name: str
    uid: str
    project: SetupProject
    recipe: Recipe
    parameters: Mapping[str, str]
    number: int
    fence: int
    run_name: str
    timeout: float
    credentials: GitCredentials | None = field(default=None, repr=False)
    credentials_secret: str | None = None
    traceparents: Mapping[str, str] = field(default_factory=dict)

    @property
    def project_id(self) -> UUID:
        """The project that the attempt sets up."""
        return self.project.id

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the ProjectSetup."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Adoption:
    """An attempt that another operator started, or was about to start, as `run_name`.

    `fence` belongs to the claim under which the attempt continues, not to the run's name. `digest` identifies the plan
    that the attempt was started with, see `Engine.digest`. `credentials` as in `AttemptSpec`.
    """

    namespace: str
    name: str
    uid: str
    project_id: UUID
    number: int
    fence: int
    run_name: str
    digest: str
    credentials: GitCredentials | None = field(default=None, repr=False)
    credentials_secret: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the ProjectSetup."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """What an existing ProjectSetup reports: its uid, the name of its run if it has one, and whether it has ended."""

    uid: str
    run_name: str | None
    is_over: bool


FindRun = Callable[[str, str], CurrentRun | None]
"""Returns what the ProjectSetup with this namespace and name last reported; None if there is no such ProjectSetup."""


class LeftRunning(Exception):
    """The engine no longer follows the attempt but leaves it running, for the next operator to adopt."""


class Engine(Protocol):
    """Runs attempts.

    `outlives_operator`: attempts continue when the operator ends, and the next operator adopts them.
    `needs_credentials`: the operator hands the credentials to the steps, so it must be able to read them.
    """

    name: str
    outlives_operator: bool
    needs_credentials: bool

    def digest(self, recipe: Recipe, timeout: float) -> str | None:
        """Identify the plan of an attempt, so that `run` can check it on adoption; None if nothing is adopted."""
        ...

    async def run(
        self, attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, leave: asyncio.Event, log: AttemptLog
    ) -> SetupOutcome:
        """Run one attempt, or follow one that is running. Raises InfrastructureError if the attempt broke.

        `on_progress` is called when a step begins. `log` receives what the steps print; of an attempt that is running,
        what comes after `log.position`. If cancelled, `run` stops the attempt and raises SetupStopped or
        CancelledError once nothing of it is alive; it returns an outcome only if the last step had succeeded anyway.
        Once `leave` is set, an engine whose attempts outlive the operator raises LeftRunning and leaves the attempt
        running; if it is cancelled as well, it does so at once.
        """
        ...

    async def kill_all(self) -> None:
        """Kill every process of every attempt at once; attempts that outlive the operator are left alone."""
        ...

    async def collect_garbage(self, find_run: FindRun) -> None:
        """End runs that no ProjectSetup reports. Raises InfrastructureError.

        `find_run` is called only after the runs were listed, so that a run which has just begun is not ended.
        """
        ...


def run_name(project_id: UUID | str, number: int, fence: int, token: str) -> str:
    """Name the run of an attempt. Names are unique, since every claim has its own fence.

    `token` is random, so that nobody can take the name in advance.
    """
    return f"{run_prefix(project_id)}{number}-{fence}-{token}"


def run_prefix(project_id: UUID | str) -> str:
    """Return what the names of all runs of this project begin with."""
    return f"setup-{project_id}-"
