"""The supervisor's loop: it carries out the operator's messages, watches its wardens, and outlives the operator."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from projectsetup.engines.local.supervisor import protocol
from projectsetup.engines.local.supervisor.processes import kill_round, wake_on
from projectsetup.engines.local.supervisor.warden import KILL, run_warden

_BACKGROUND = 0
"""The id of an operation that the operator does not wait for."""
_KILL_INTERVAL = 0.01


@dataclass(frozen=True, slots=True)
class _Operation:
    id: int
    is_step: bool


@dataclass(slots=True)
class _Warden:
    pid: int
    channel: socket.socket
    operation: _Operation | None = None

    @property
    def runs_step(self) -> bool:
        return self.operation is not None and self.operation.is_step


class Supervisor:
    """Serves one operator; all processes below this one are its wardens and what they left behind.

    There are as many wardens as there were concurrent operations.
    """

    def __init__(self, channel: socket.socket, directory: str) -> None:
        self._channel = channel
        self._directory = directory
        self._poll = select.poll()
        self._wardens: dict[int, _Warden] = {}
        self._orphaned_steps: list[int] = []
        self._killing = False
        self._unsent: list[protocol.Message] = []
        channel.setblocking(False)
        signal.pthread_sigmask(signal.SIG_BLOCK, (KILL,))  # until a warden is ready for it
        self._woken = wake_on(signal.SIGCHLD)
        for fd in (channel.fileno(), self._woken):
            self._poll.register(fd, select.POLLIN)

    def serve(self) -> None:
        """Work until the operator is gone or silent for too long; the caller kills what still runs."""
        last_message = _clock()
        while True:
            busy = self._killing or bool(self._orphaned_steps)
            seconds = _KILL_INTERVAL if busy else protocol.CLOCK_CHECK_INTERVAL
            ready = {fd for fd, _ in self._poll.poll(1000 * seconds)}
            if _clock() - last_message > protocol.SILENCE_LIMIT:
                return  # even if it has just woken up: another operator may have taken over
            if self._channel.fileno() in ready:
                received = protocol.receive(self._channel)
                if received is None:
                    return
                last_message = _clock()
                self._handle(*received)
            if self._woken in ready:
                os.read(self._woken, 4096)
            for warden in list(self._wardens.values()):
                if warden.channel.fileno() in ready:
                    self._receive_from(warden)
            self._reap()
            self._kill_pending()
            self._send()

    def kill_everything(self) -> None:
        """Send SIGKILL to everything below this process; returns when nothing is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                kill_round()
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                time.sleep(_KILL_INTERVAL)

    def remove_in_background(self, path: str) -> None:
        """Remove the directory of a dead supervisor without reporting its end."""
        self._assign(_Operation(_BACKGROUND, is_step=False), {"op": "clear", "path": path})

    def _handle(self, message: protocol.Message, fds: list[int]) -> None:
        match message["op"]:
            case "beat":
                self._send({"op": "beat"})
            case "run":
                self._start(_Operation(message["id"], is_step=True), message, fds)
            case "remove":
                path = f"{self._directory}/{os.path.basename(message['name'])}"
                self._start(_Operation(message["id"], is_step=False), {"op": "remove", "path": path}, fds)
            case "stop":
                for warden in self._wardens.values():
                    if warden.operation == _Operation(message["id"], is_step=True):
                        with contextlib.suppress(OSError):  # the warden has just ended
                            protocol.send(warden.channel, message)
            case "kill":
                self._killing = True
        for fd in fds:
            os.close(fd)

    def _start(self, operation: _Operation, message: protocol.Message, fds: list[int]) -> None:
        try:
            self._assign(operation, message, fds)
        except OSError as error:
            protocol.write_result(fds[-1], {"error": f"cannot start a process: {error.strerror}", "continues": False})
            self._send({"op": "ended", "id": operation.id})

    def _assign(self, operation: _Operation, message: protocol.Message, fds: Sequence[int] = ()) -> None:
        """Send it to an idle warden, or to a new one. Raises OSError."""
        for warden in [warden for warden in self._wardens.values() if warden.operation is None]:
            with contextlib.suppress(OSError):  # it has been killed
                protocol.send(warden.channel, message, tuple(fds))
                warden.operation = operation
                return
        warden = self._new_warden()
        protocol.send(warden.channel, message, tuple(fds))
        warden.operation = operation

    def _new_warden(self) -> _Warden:
        supervisor = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    run_warden(supervisor, theirs, os.path.dirname(self._directory))
                    code = 0
                finally:
                    os._exit(code)
        warden = self._wardens[pid] = _Warden(pid, ours)
        self._poll.register(ours.fileno(), select.POLLIN)
        return warden

    def _receive_from(self, warden: _Warden) -> None:
        received = protocol.receive(warden.channel)
        if received is None:
            self._poll.unregister(warden.channel.fileno())  # it is ending, or was killed
        elif warden.operation is not None:
            self._finish(warden)

    def _finish(self, warden: _Warden) -> None:
        operation, warden.operation = warden.operation, None
        if operation is not None:
            self._send({"op": "ended", "id": operation.id})

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                warden = self._wardens.pop(pid, None)
                if warden is not None:
                    self._forget(warden, status)

    def _forget(self, warden: _Warden, status: int) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(warden.channel.fileno())
        warden.channel.close()
        if warden.operation is not None and warden.operation.is_step and status != 0:
            self._orphaned_steps.append(warden.operation.id)  # it was killed: its step may still run
        else:
            self._finish(warden)

    def _kill_pending(self) -> None:
        """Kill one round of what is due to be killed, and report when it is gone."""
        if not self._killing and not self._orphaned_steps:
            return
        if not kill_round(
            spare=[pid for pid, warden in self._wardens.items() if not (self._killing and warden.runs_step)]
        ):
            return
        for operation_id in self._orphaned_steps:
            self._send({"op": "ended", "id": operation_id})
        self._orphaned_steps.clear()
        if self._killing:
            self._killing = False
            self._send({"op": "killed"})

    def _send(self, *messages: protocol.Message) -> None:
        """Send without blocking; what does not fit into the channel is sent later."""
        self._unsent.extend(messages)
        with contextlib.suppress(OSError):  # serve() detects an operator that has ended
            while self._unsent:
                protocol.send(self._channel, self._unsent[0])
                del self._unsent[0]


def _clock() -> float:
    """Seconds; the clock keeps running while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
