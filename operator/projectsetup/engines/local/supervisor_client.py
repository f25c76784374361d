"""The operator's client of its supervisor: starts it, sends it operations, and detects when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections import deque
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final

from projectsetup.engines.local.operations import Operation
from projectsetup.engines.local.supervisor import protocol

START_LIMIT: Final = 30.0
END_LIMIT: Final = 10.0
KILL_LIMIT: Final = 1.0
MAX_UNANSWERED: Final = 5
"""After this many heartbeats without an answer the supervisor counts as frozen and is killed."""

_SOURCE_ROOT: Final = str(Path(__file__).resolve().parents[3])
_MODULE: Final = "projectsetup.engines.local.supervisor"


class SupervisorNotStarted(Exception):
    """The supervisor could not be started; the message says why in one line."""


class SupervisorClient:
    """One supervisor, from its start to its end.

    `lost` is set when it ends, whether asked to or not. `directory` is its own; `leftovers` counts the processes and
    directories of dead operators that it found at its start. `confines`: the kernel has Landlock.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self._process = process
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._operations: dict[int, Operation] = {}
        self._ids = count(1)
        self._unsent: deque[tuple[protocol.Message, tuple[int, ...]]] = deque()
        self._unanswered = 0
        self._heartbeat: asyncio.TimerHandle | None = None
        self._greeting: asyncio.Future[protocol.Message] = self._loop.create_future()
        self._killed = asyncio.Event()
        self.lost = asyncio.Event()
        self.directory = Path()
        self.leftovers = (0, 0)
        self.confines = False
        self._loop.add_reader(channel, self._receive)

    @classmethod
    async def start(cls, root: Path) -> SupervisorClient:
        """Start a supervisor, which cleans up below `root` after dead operators. Raises SupervisorNotStarted."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-s", "-P", "-X", "utf8", "-m", _MODULE, str(theirs.fileno()), str(root)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    env={"PYTHONPATH": _SOURCE_ROOT},
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except OSError as exc:
            ours.close()
            raise SupervisorNotStarted(f"cannot start the supervisor: {exc.strerror}") from exc
        client = cls(process, ours)
        try:
            await client._wait_until_ready()
        except BaseException:
            client._kill()
            await process.wait()
            raise
        return client

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._process.pid

    def run(self, steps: int, outputs: Sequence[int], *, last: bool) -> Operation:
        """Start steps; the file descriptors are those of their description and of the output pipe of each.

        With `last`, the warden that reads the description runs no other steps.
        """
        return self._start_operation({"op": "run", "last": last}, (steps, *outputs))

    def remove(self, name: str) -> Operation:
        """Remove one directory inside the supervisor's own."""
        return self._start_operation({"op": "remove", "name": name}, ())

    async def kill_all(self) -> None:
        """Kill all steps at once; a supervisor that does not do so in time is killed, and its steps with it."""
        self._killed.clear()
        self._post({"op": "kill"})
        with contextlib.suppress(TimeoutError):
            if not self.lost.is_set():
                await asyncio.wait_for(self._killed.wait(), KILL_LIMIT)
                return
        operations = list(self._operations.values())
        self._kill()
        await asyncio.gather(*(operation.end() for operation in operations))

    async def close(self) -> None:
        """Close the channel, on which the supervisor kills everything and exits."""
        self._lose()
        with contextlib.suppress(TimeoutError):  # it finishes on its own, however long a removal takes
            await asyncio.wait_for(self._process.wait(), END_LIMIT)

    async def wait_ended(self) -> None:
        """Returns when a lost supervisor has ended, so that the next one can clean up after it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), END_LIMIT)
            return
        self._kill()
        await self._process.wait()

    async def _wait_until_ready(self) -> None:
        try:
            greeting = await asyncio.wait_for(self._greeting, START_LIMIT)
        except TimeoutError as exc:
            raise SupervisorNotStarted(f"the supervisor did not start within {START_LIMIT:.0f} s") from exc
        if greeting["op"] != "ready":
            raise SupervisorNotStarted(f"the supervisor failed to start: {greeting['error']}")
        self.directory = Path(greeting["directory"])
        self.leftovers = (greeting["killed"], greeting["abandoned"])
        self.confines = greeting["landlock"] > 0
        self._send_heartbeat()

    def _start_operation(self, message: protocol.Message, fds: tuple[int, ...]) -> Operation:
        operation = Operation(next(self._ids), self._stop_operation)
        try:
            self._post({**message, "id": operation.id}, (*fds, operation.results.write_fd))
        except OSError:
            operation.results.close()
            raise
        operation.results.close_write_end()
        if self.lost.is_set():
            operation.finish(lost=True)
        else:
            self._operations[operation.id] = operation
        return operation

    def _stop_operation(self, operation_id: int, step: int | None) -> None:
        self._post({"op": "stop", "id": operation_id, "step": step})

    def _send_heartbeat(self) -> None:
        if self._unanswered >= MAX_UNANSWERED:
            self._kill()
            return
        self._unanswered += 1
        self._post({"op": "beat"})
        self._heartbeat = self._loop.call_later(protocol.HEARTBEAT_INTERVAL, self._send_heartbeat)

    def _post(self, message: protocol.Message, fds: tuple[int, ...] = ()) -> None:
        """Send a message now, or once it fits into the channel; the caller may close the file descriptors."""
        if self.lost.is_set():
            return
        self._unsent.append((message, tuple(os.dup(fd) for fd in fds)))
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                message, fds = self._unsent[0]
                protocol.send(self._channel, message, fds)
                self._unsent.popleft()
                _close(fds)
        except BlockingIOError:
            self._loop.add_writer(self._channel, self._flush)
        except OSError:
            self._lose()
        else:
            self._loop.remove_writer(self._channel)

    def _receive(self) -> None:
        try:
            received = protocol.receive(self._channel)
        except BlockingIOError:
            return
        if received is None:
            self._lose()
            return
        message, _ = received
        match message["op"]:
            case "beat":
                self._unanswered = 0
            case "ended":
                operation = self._operations.pop(message["id"], None)
                if operation is not None:
                    operation.finish(lost=False)
            case "killed":
                self._killed.set()
            case _ if not self._greeting.done():
                self._greeting.set_result(message)

    def _kill(self) -> None:
        """Send SIGKILL to a supervisor that does not answer."""
        self._lose()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _lose(self) -> None:
        if self.lost.is_set():
            return
        self.lost.set()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._channel.close()
        if not self._greeting.done():
            self._greeting.set_result({"op": "refused", "error": "it exited at once"})
        while self._unsent:
            _close(self._unsent.popleft()[1])
        while self._operations:
            self._operations.popitem()[1].finish(lost=True)


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
