"""Runs the steps of one attempt as processes on this machine."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.api.reasons import Reason
from projectsetup.engines.local.job import Job, JobEnd
from projectsetup.engines.local.pipes import Pipe
from projectsetup.engines.local.workspace import AttemptDirectory, read_bounded
from projectsetup.engines.patience import uninterrupted
from projectsetup.engines.volume import volume_of
from projectsetup.setup.types import HEALTHY, InfrastructureError, SetupStopped, StepCommand, StepExit

if TYPE_CHECKING:
    from pathlib import Path

    from projectsetup.engines.local.supervisor.protocol import Message
    from projectsetup.engines.local.supervisor_client import SupervisorLink

LossHandler = Callable[[], Awaitable[None]]
"""Returns when nothing is alive of what a lost supervisor had started. Raises InfrastructureError."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Paths that steps do not reach, and some below these that they do all the same, which have no symbolic links.

    What a link in `hidden` leads to is looked up at the start of each step: mounted Secrets are replaced by moving one.
    With None as `hidden`, steps reach all files that their user may use.
    """

    hidden: Collection[Path] | None = None
    visible: Collection[Path] = ()


class LocalAttempt:
    """The runner of one attempt's steps, one at a time; it does not outlive the supervisor that it began with."""

    def __init__(
        self,
        link: SupervisorLink,
        directory: AttemptDirectory,
        *,
        reach: Reach,
        grace: float,
        on_loss: LossHandler,
    ) -> None:
        self._link = link
        self._directory = directory
        self._reach = reach
        self._grace = grace
        self._on_loss = on_loss
        self._job: Job | None = None
        self._stopped = False
        self._timed_out = False

    @property
    def workspace(self) -> Path:
        """The directory in which every step starts."""
        return self._directory.workspace

    @property
    def private(self) -> Path:
        """The directory of a command's private files."""
        return self._directory.private

    def stop(self) -> None:
        """Ask a running step to stop and start no other. Its own outcome still counts when it ends with 0."""
        self._stopped = True
        if self._job is not None:
            self._job.stop()

    async def run(self, command: StepCommand, on_output: Callable[[bytes], None]) -> StepExit:
        """Run one step; see `StepRunner`."""
        if self._stopped:
            raise SetupStopped(f"stopped before step {command.step}")
        self._timed_out = False
        try:
            try:
                outputs = self._directory.prepare(command.private_files, command.private_folders)
                end = await self._run_with_output(command, outputs, on_output)
            finally:
                if command.private_files or command.private_folders:
                    await self._clear_private(command)
        except OSError as exc:
            raise _not_started(command, exc.strerror or str(exc)) from exc
        report = _report(command, end)
        code = os.waitstatus_to_exitcode(report["status"])
        return StepExit(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=self._timed_out,
            stopped=self._stopped,
            oom=report["oom"],
            outputs=read_bounded(outputs),
            volume=HEALTHY if code == 0 else volume_of(self.workspace),
        )

    async def _run_with_output(self, command: StepCommand, outputs: Path, on_output: Callable[[bytes], None]) -> JobEnd:
        output = Pipe(on_output)
        try:
            return await self._run(command, outputs, output)
        finally:
            output.close()

    async def _run(self, command: StepCommand, outputs: Path, output: Pipe) -> JobEnd:
        job = self._job = self._start(command, outputs, output)
        timer = asyncio.get_running_loop().call_later(command.timeout, self._time_out)
        try:
            return await uninterrupted(self._end_of(job), on_cancel=job.stop)
        finally:
            timer.cancel()
            self._job = None

    async def _clear_private(self, command: StepCommand) -> None:
        try:
            await uninterrupted(asyncio.to_thread(self._directory.clear_private))
        except OSError as exc:
            message = f"the private files of step {command.step} cannot be removed: {exc.strerror}"
            raise InfrastructureError(Reason.ENGINE_ERROR, message, step=command.step) from exc

    def _start(self, command: StepCommand, outputs: Path, output: Pipe) -> Job:
        request = {
            "script": command.script,
            "environment": {**command.environment, "STEP_OUTPUTS": str(outputs)},
            "directory": str(self.workspace),
            "grace": self._grace,
            "hidden": None if self._reach.hidden is None else [str(path.resolve()) for path in self._reach.hidden],
            "visible": [str(path) for path in (self._directory.path, *self._reach.visible)],
        }
        with open(os.memfd_create("step"), "wb", buffering=0) as file:
            file.write(json.dumps(request).encode())
            job = self._link.run(file.fileno(), output.writing, last=command.confidential)
        output.handed_over()
        return job

    async def _end_of(self, job: Job) -> JobEnd:
        end = await job.end()
        if end.lost:
            await self._on_loss()
        return end

    def _time_out(self) -> None:
        self._timed_out = True
        if self._job is not None:
            self._job.stop()


def _report(command: StepCommand, end: JobEnd) -> Message:
    """What the warden told of the step's own end. Raises InfrastructureError when it was not that."""
    if end.result is not None and "error" in end.result:
        raise _not_started(command, end.result["error"])
    if end.result is None or end.result["killed"]:
        why = "the supervisor of its processes ended" if end.lost else "its processes were killed by the operator"
        raise InfrastructureError(Reason.INTERRUPTED, f"step {command.step} was interrupted: {why}", step=command.step)
    return end.result


def _not_started(command: StepCommand, why: str) -> InfrastructureError:
    return InfrastructureError(
        Reason.ENGINE_ERROR, f"step {command.step} could not be started: {why}", step=command.step
    )
