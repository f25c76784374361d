"""A warden runs operations one after another, steps and removals; each step ends completely before the next."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
from dataclasses import replace
from functools import partial
from typing import Final

from projectsetup.engines.local.supervisor import kernel, protocol
from projectsetup.engines.local.supervisor.directories import list_all, remove_own, remove_tree
from projectsetup.engines.local.supervisor.processes import wake_on
from projectsetup.engines.local.supervisor.step import Command, Wakeup, run_step

KILL: Final = signal.SIGUSR2
"""The kernel sends it when the supervisor has ended."""


def run_warden(supervisor: int, channel: socket.socket, root: str) -> None:
    """Serve as a warden, in a fork of the supervisor, until the supervisor ends or an operation was the last.

    Steps can access nothing in the directories of supervisors below `root`, except what their commands make visible.
    """
    _Warden(supervisor, channel, root).serve()


class _Warden:
    def __init__(self, supervisor: int, channel: socket.socket, root: str) -> None:
        self._channel = channel
        self._root = root
        self._home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _close_all_except({0, 1, 2, channel.fileno(), self._home})
        channel.setblocking(False)
        self._woken = wake_on(signal.SIGCHLD, KILL)
        self._poll = select.poll()
        for fd in (channel.fileno(), self._woken):
            self._poll.register(fd, select.POLLIN)
        _confine_descendants()
        if not kernel.signal_on_parent_death(KILL, supervisor):
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (KILL,))

    def serve(self) -> None:
        """Carry out the supervisor's messages."""
        while True:
            self._poll.poll()
            if KILL in self._read_signals():
                return
            with contextlib.suppress(BlockingIOError):
                received = protocol.receive(self._channel)
                if received is None:
                    return
                self._handle(*received)
                if received[0].get("last"):
                    return

    def _handle(self, message: protocol.Message, fds: list[int]) -> None:
        match message["op"]:
            case "run":
                command, output, result = fds
                wait = partial(self._wait, message["id"])
                run_step(self._read_command(command), output, result, home=self._home, wait=wait)
                os.close(result)
            case "remove":
                (result,) = fds
                try:
                    remove_tree(message["path"])
                except OSError as error:
                    protocol.write_result(result, {"error": str(error)})
                os.close(result)
            case "clear":
                remove_own(message["path"])
            case _:
                return  # a stop that arrived after its step had ended
        if not message.get("last"):
            protocol.send(self._channel, {"op": "done"})

    def _read_command(self, fd: int) -> Command:
        with open(fd, "rb") as file:
            file.seek(0)
            command = Command(**json.loads(file.read()))
        return command if command.hidden is None else replace(command, hidden=(*command.hidden, *list_all(self._root)))

    def _wait(self, operation_id: int, seconds: float | None) -> Wakeup:
        """Wait for what concerns the step of this operation."""
        self._poll.poll(None if seconds is None else 1000 * seconds)
        if KILL in self._read_signals():
            return Wakeup.KILL
        try:
            received = protocol.receive(self._channel)
        except BlockingIOError:
            return Wakeup.CHECK
        if received is None:
            return Wakeup.KILL
        return Wakeup.STOP if received[0] == {"op": "stop", "id": operation_id} else Wakeup.CHECK

    def _read_signals(self) -> bytes:
        try:
            return os.read(self._woken, 4096)
        except BlockingIOError:
            return b""


def _confine_descendants() -> None:
    """Set what every process of a step inherits."""
    kernel.become_subreaper()
    kernel.give_up_new_privileges()
    kernel.withhold_capabilities()
    kernel.prefer_for_oom_kill()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o022)


def _close_all_except(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # listdir has already closed its own
                os.close(int(name))
