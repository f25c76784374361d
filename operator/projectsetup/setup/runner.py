"""The port through which a setup runs a step, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from projectsetup.setup.obstacles import NOTHING_SPECIAL, Volume


@dataclass(frozen=True, slots=True)
class StepCommand:
    """One step to run with `sh -euc`.

    `timeout` is in seconds. `environment` is all the step gets; the runner adds `STEP_OUTPUTS` alone. `private_files`
    and `private_folders`, empty at first, stand in the runner's `private` directory as long as the step runs; no step
    before it could write there. What has read a `confidential` one runs no other.
    """

    step: str
    script: str
    environment: Mapping[str, str] = field(repr=False)
    timeout: float
    private_files: Mapping[str, str] = field(default_factory=dict, repr=False)
    private_folders: Collection[str] = ()
    confidential: bool = False


@dataclass(frozen=True, slots=True)
class StepExit:
    """How a step ended; nothing of it is alive.

    Either `exit_code` or `signal` is given, that of the step's shell. `timed_out` and `stopped` tell what the runner
    was asked for before the shell ended; `outputs` is what the step wrote to `$STEP_OUTPUTS`, `volume` the
    file system of its workspace after a failure.
    """

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    stopped: bool = False
    oom: bool = False
    outputs: bytes = b""
    volume: Volume = NOTHING_SPECIAL


class StepRunner(Protocol):
    """Runs the steps of one attempt, one at a time, in one workspace."""

    @property
    def workspace(self) -> Path:
        """The directory in which every step starts; `.home` and `.tmp` are in it."""
        ...

    @property
    def private(self) -> Path:
        """The directory, outside the workspace, of a command's private files and folders."""
        ...

    async def run(self, command: StepCommand, on_output: Callable[[bytes], None]) -> StepExit:
        """Run one step to its end; `on_output` is given what it prints, in pieces.

        Raises InfrastructureError when it could not be run or its end is not known, SetupStopped when the runner had
        been asked to stop before. When the awaiting task is cancelled, the step is stopped, and the cancellation goes
        on once nothing of the step is alive.
        """
        ...
