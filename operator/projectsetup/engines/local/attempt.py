"""Runs the steps of one attempt as processes on this machine."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.api.reasons import Reason
from projectsetup.engines.local.operations import Operation, OperationEnd, Pipe, shield
from projectsetup.engines.local.workspace import AttemptDirectory, read_outputs_file, volume_of
from projectsetup.setup.types import HEALTHY, InfrastructureError, SetupStopped, StepCommand, StepExit

if TYPE_CHECKING:
    from pathlib import Path

    from projectsetup.engines.local.supervisor.protocol import Message
    from projectsetup.engines.local.supervisor_client import SupervisorClient

LossHandler = Callable[[], Awaitable[None]]
"""Returns when nothing that a lost supervisor started is alive. Raises InfrastructureError."""


@dataclass(frozen=True, slots=True)
class FileAccess:
    """Paths that steps cannot access, and paths below these that they can, which have no symbolic links.

    Links in `hidden` are resolved at the start of each step, because Kubernetes replaces a mounted Secret by moving a
    link. With `hidden` None, steps can access all files that their user can.
    """

    hidden: Collection[Path] | None = None
    visible: Collection[Path] = ()


class LocalAttempt:
    """Runs one attempt's steps, one at a time, under one supervisor; losing that supervisor ends the attempt."""

    def __init__(
        self,
        supervisor: SupervisorClient,
        directory: AttemptDirectory,
        *,
        access: FileAccess,
        grace: float,
        on_loss: LossHandler,
    ) -> None:
        self._supervisor = supervisor
        self._directory = directory
        self._access = access
        self._grace = grace
        self._on_loss = on_loss
        self._operation: Operation | None = None
        self._stopped = False
        self._timed_out = False

    @property
    def workspace(self) -> Path:
        """The working directory of every step."""
        return self._directory.workspace

    @property
    def private(self) -> Path:
        """The directory of a step's private files."""
        return self._directory.private

    def stop(self) -> None:
        """Stop a running step and start no other. Its exit code 0 still counts as success."""
        self._stopped = True
        if self._operation is not None:
            self._operation.stop()

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
        result = _result(command, end)
        code = os.waitstatus_to_exitcode(result["status"])
        return StepExit(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=self._timed_out,
            stopped=self._stopped,
            oom=result["oom"],
            outputs=read_outputs_file(outputs),
            volume=HEALTHY if code == 0 else volume_of(self.workspace),
        )

    async def _run_with_output(
        self, command: StepCommand, outputs: Path, on_output: Callable[[bytes], None]
    ) -> OperationEnd:
        output = Pipe(on_output)
        try:
            return await self._run(command, outputs, output)
        finally:
            output.close()

    async def _run(self, command: StepCommand, outputs: Path, output: Pipe) -> OperationEnd:
        operation = self._operation = self._start(command, outputs, output)
        timer = asyncio.get_running_loop().call_later(command.timeout, self._time_out)
        try:
            return await shield(self._end_of(operation), on_cancel=operation.stop)
        finally:
            timer.cancel()
            self._operation = None

    async def _clear_private(self, command: StepCommand) -> None:
        try:
            await shield(asyncio.to_thread(self._directory.clear_private))
        except OSError as exc:
            message = f"cannot remove the private files of step {command.step}: {exc.strerror}"
            raise InfrastructureError(Reason.ENGINE_ERROR, message, step=command.step) from exc

    def _start(self, command: StepCommand, outputs: Path, output: Pipe) -> Operation:
        request = {
            "script": command.script,
            "environment": {**command.environment, "STEP_OUTPUTS": str(outputs)},
            "directory": str(self.workspace),
            "grace": self._grace,
            "hidden": None if self._access.hidden is None else [str(path.resolve()) for path in self._access.hidden],
            "visible": [str(path) for path in (self._directory.path, *self._access.visible)],
        }
        with open(os.memfd_create("step"), "wb", buffering=0) as file:
            file.write(json.dumps(request).encode())
            operation = self._supervisor.run(file.fileno(), output.write_fd, last=command.confidential)
        output.close_write_end()
        return operation

    async def _end_of(self, operation: Operation) -> OperationEnd:
        end = await operation.end()
        if end.lost:
            await self._on_loss()
        return end

    def _time_out(self) -> None:
        self._timed_out = True
        if self._operation is not None:
            self._operation.stop()


def _result(command: StepCommand, end: OperationEnd) -> Message:
    """The warden's report of the step's own end. Raises InfrastructureError when the step did not end by itself."""
    if end.result is not None and "error" in end.result:
        raise _not_started(command, end.result["error"])
    if end.result is None or end.result["killed"]:
        why = "its supervisor died" if end.lost else "the operator killed its processes"
        raise InfrastructureError(Reason.INTERRUPTED, f"step {command.step} was interrupted: {why}", step=command.step)
    return end.result


def _not_started(command: StepCommand, why: str) -> InfrastructureError:
    return InfrastructureError(Reason.ENGINE_ERROR, f"step {command.step} could not start: {why}", step=command.step)
