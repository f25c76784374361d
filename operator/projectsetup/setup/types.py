"""The types of the setup module: project, progress, steps and how they end, outcomes and errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from projectsetup.api.reasons import Reason

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class SetupProject:
    """What the steps need to know about a project; its repository URLs have already been checked."""

    id: UUID
    name: str
    slug: str
    description: str
    code_repo: str
    docs_repo: str | None

    @property
    def repositories(self) -> tuple[str, ...]:
        """The URLs of its repositories, one or two."""
        return (self.code_repo, self.docs_repo) if self.docs_repo else (self.code_repo,)


@dataclass(frozen=True, slots=True)
class Progress:
    """`completed` of `total` steps are done, and `step` is the current one, or was the last.

    `waits_for` says in one line why the setup is blocked. `lingers`: it was stopped, but some of it does not go away.
    """

    project_status: str
    step: str
    completed: int
    total: int
    waits_for: str | None = None
    lingers: bool = False

    def __str__(self) -> str:
        return f"{self.completed}/{self.total}"


ProgressCallback = Callable[[Progress], None]
"""Called in the event loop: it must be quick."""


@dataclass(frozen=True, slots=True)
class Volume:
    """The state of a workspace's file system after a step."""

    full: bool = False
    read_only: bool = False
    no_exec: bool = False


HEALTHY: Final = Volume()


@dataclass(frozen=True, slots=True)
class StepCommand:
    """One step to run with `sh -euc`; `timeout` is in seconds.

    `environment` is complete except for `STEP_OUTPUTS`, which the runner adds. `private_files` and the initially empty
    `private_folders` exist in the runner's `private` directory only while the step runs. The process that reads a
    `confidential` command runs no other step. `following` is the command that `run` gets next if this one exits with 0:
    the runner may start it at once, so it must have neither private files nor be confidential.
    """

    step: str
    script: str
    environment: Mapping[str, str] = field(repr=False)
    timeout: float
    private_files: Mapping[str, str] = field(default_factory=dict, repr=False)
    private_folders: Collection[str] = ()
    confidential: bool = False
    following: StepCommand | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StepExit:
    """How a step ended; none of its processes is alive.

    Either `exit_code` or `signal` is set, that of the step's shell. `timed_out` and `stopped`: the runner had begun to
    stop the step before its shell ended. `outputs` is what the step wrote to `$STEP_OUTPUTS`; `volume` is only
    determined after a failure.
    """

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    stopped: bool = False
    oom: bool = False
    outputs: bytes = b""
    volume: Volume = HEALTHY


class StepRunner(Protocol):
    """Runs the steps of one attempt, one at a time, in one workspace."""

    @property
    def workspace(self) -> Path:
        """The working directory of every step; it contains `.home` and `.tmp`."""
        ...

    @property
    def private(self) -> Path:
        """The directory, outside the workspace, of a command's private files and folders."""
        ...

    async def run(self, command: StepCommand, on_output: Callable[[bytes], None]) -> StepExit:
        """Run one step to its end; `on_output` receives what it prints, in chunks.

        Raises InfrastructureError when the step could not run or its end is unknown, SetupStopped when the runner was
        stopped before. When cancelled, it stops the step and raises CancelledError once none of its processes is alive.
        """
        ...


@dataclass(frozen=True, slots=True)
class SetupSucceeded:
    """All steps succeeded; the commits are those that the steps reported."""

    code_commit: str | None = None
    docs_commit: str | None = None


@dataclass(frozen=True, slots=True)
class SetupFailed:
    """A business failure: another attempt would fail in the same way."""

    step: str
    exit_code: int
    message: str


SetupOutcome = SetupSucceeded | SetupFailed


class InfrastructureError(Exception):
    """The attempt broke, through no fault of the project.

    `reason` is one of `api.reasons.RETRYABLE`; the message is one line without secrets.
    """

    def __init__(self, reason: Reason, message: str, *, step: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.step = step
        self.exit_code = exit_code


class NotStarted(InfrastructureError):
    """Nothing of the attempt could start yet, for a temporary reason outside the project: it does not count."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.ENGINE_ERROR, message)


class SetupStopped(Exception):
    """The setup was stopped before its end; none of its processes is alive."""
