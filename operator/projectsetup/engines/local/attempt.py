"""Runs the steps of one attempt as processes on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.api.reasons import Reason
from projectsetup.engines.local.operations import Operation, Pipe, shield, wait_for_end
from projectsetup.engines.local.supervisor.protocol import MAX_STEPS
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


@dataclass(slots=True)
class _Batch:
    """Steps that a warden runs one after another; `outputs` are those of the steps that nobody has waited for yet."""

    operation: Operation
    outputs: deque[Pipe]
    next_number: int = 0

    def close(self) -> None:
        for output in self.outputs:
            output.close()


class LocalAttempt:
    """Runs one attempt's steps, one at a time, under one supervisor; losing that supervisor ends the attempt.

    A step and those that follow it are sent to the supervisor together: the next starts while the operator still takes
    note of the end of the one before.
    """

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
        self._batch: _Batch | None = None
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
        if self._batch is not None:
            self._batch.operation.stop()

    async def close(self) -> None:
        """Stop a step that has started but that nobody waits for; returns once it is gone."""
        if self._batch is not None:
            self._batch.operation.stop()
            await self._end_of(self._batch)

    async def run(self, command: StepCommand, on_output: Callable[[bytes], None]) -> StepExit:
        """Run one step; see `StepRunner`."""
        try:
            try:
                batch = self._batch or self._start(command)
                result, lost = await self._result(command, batch, on_output)
            finally:
                if command.private_files or command.private_folders:
                    await self._clear_private(command)
        except OSError as exc:
            raise _not_started(command, exc.strerror or str(exc)) from exc
        result = _own_end(command, result, lost=lost)
        code = os.waitstatus_to_exitcode(result["status"])
        return StepExit(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=self._timed_out,
            stopped=self._stopped and self._batch is None,
            oom=result["oom"],
            outputs=b"" if result["outputs"] is None else read_outputs_file(result["outputs"]),
            volume=HEALTHY if code == 0 else volume_of(self.workspace),
        )

    async def _result(
        self, command: StepCommand, batch: _Batch, on_output: Callable[[bytes], None]
    ) -> tuple[Message | None, bool]:
        """Wait for the step's end, and unless the next step follows it, for that of all processes.

        None: it has not ended by itself. True: its supervisor was lost.
        """
        self._timed_out = False
        number, output = batch.next_number, batch.outputs.popleft()
        batch.next_number += 1
        timer = asyncio.get_running_loop().call_later(command.timeout, self._time_out, number)
        try:
            output.read(on_output)
            return await self._wait(batch)
        finally:
            timer.cancel()
            output.close()

    async def _wait(self, batch: _Batch) -> tuple[Message | None, bool]:
        stop = batch.operation.stop
        cancelled = await wait_for_end(batch.operation.progress(), on_cancel=stop)
        result = batch.operation.next_result()
        if result is not None and result["continues"] and not self._stopped and cancelled is None:
            return result, False
        try:
            lost = await shield(self._end_of(batch), on_cancel=stop)
        finally:
            if cancelled is not None:
                raise cancelled
        return result, lost

    async def _end_of(self, batch: _Batch) -> bool:
        """Wait for the end of all its processes. True if the supervisor was lost."""
        lost = await batch.operation.end()
        if not batch.operation.has_result:  # otherwise the next step had ended before it could be stopped
            batch.close()
            self._batch = None
        if lost:
            await self._on_loss()
        return lost

    async def _clear_private(self, command: StepCommand) -> None:
        try:
            await shield(asyncio.to_thread(self._directory.clear_private))
        except OSError as exc:
            message = f"cannot remove the private files of step {command.step}: {exc.strerror}"
            raise InfrastructureError(Reason.ENGINE_ERROR, message, step=command.step) from exc

    def _start(self, command: StepCommand) -> _Batch:
        if self._stopped:
            raise SetupStopped(f"stopped before step {command.step}")
        if command.private_files or command.private_folders:
            self._directory.make_private(command.private_files, command.private_folders)
        outputs: deque[Pipe] = deque()
        try:
            with open(os.memfd_create("steps"), "wb", buffering=0) as file:
                commands = [command]
                while (following := commands[-1].following) is not None and len(commands) < _at_once(file.fileno()):
                    commands.append(following)
                outputs.extend(Pipe() for _ in commands)
                file.write(json.dumps(self._request(commands)).encode())
                write_fds = [output.write_fd for output in outputs]
                operation = self._supervisor.run(file.fileno(), write_fds, last=command.confidential)
        except OSError:
            for output in outputs:
                output.close()
            raise
        for output in outputs:
            output.close_write_end()
        self._batch = _Batch(operation, outputs)
        return self._batch

    def _request(self, commands: Collection[StepCommand]) -> Message:
        hidden = self._access.hidden
        return {
            "commands": [{"script": command.script, "environment": {**command.environment}} for command in commands],
            "directory": str(self.workspace),
            "folders": [f"{self.workspace}/{name}" for name in (".home", ".tmp")],
            "outputs": f"{self._directory.path}/outputs-",
            "grace": self._grace,
            "hidden": None if hidden is None else [str(path.resolve()) for path in hidden],
            "visible": [str(path) for path in (self._directory.path, *self._access.visible)],
        }

    def _time_out(self, number: int) -> None:
        self._timed_out = True
        if self._batch is not None:
            self._batch.operation.stop(number)


def _at_once(new_fd: int) -> int:
    """How many steps to send in one message: each needs a file descriptor, so only one if half of them are in use."""
    return MAX_STEPS if new_fd < resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 else 1


def _own_end(command: StepCommand, result: Message | None, *, lost: bool) -> Message:
    """The warden's report of the step's own end. Raises InfrastructureError when the step did not end by itself."""
    if result is not None and "error" in result:
        raise _not_started(command, result["error"])
    if result is None or result["killed"]:
        why = "its supervisor died" if lost else "the operator killed its processes"
        raise InfrastructureError(Reason.INTERRUPTED, f"step {command.step} was interrupted: {why}", step=command.step)
    return result


def _not_started(command: StepCommand, why: str) -> InfrastructureError:
    return InfrastructureError(Reason.ENGINE_ERROR, f"step {command.step} could not start: {why}", step=command.step)
