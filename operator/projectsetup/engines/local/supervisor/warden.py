"""A warden: it runs one job after the other, a step or a removal, and whatever came of a step ends before the next."""

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
from projectsetup.engines.local.supervisor.directories import all_below, remove_own
from projectsetup.engines.local.supervisor.results import report
from projectsetup.engines.local.supervisor.shell import Command
from projectsetup.engines.local.supervisor.step import Word, run_step
from projectsetup.engines.local.supervisor.trees import remove_tree
from projectsetup.engines.local.supervisor.waking import wake_on

KILL: Final = signal.SIGUSR2
"""The kernel sends it when the supervisor has ended."""


def run_warden(supervisor: int, channel: socket.socket, root: str) -> None:
    """Be a warden, in a fork of the supervisor, until that has ended or a job was the last one.

    Steps reach nothing in the directories of supervisors below `root`, except what their commands name.
    """
    _Warden(supervisor, channel, root).serve()


class _Warden:
    def __init__(self, supervisor: int, channel: socket.socket, root: str) -> None:
        self._channel = channel
        self._root = root
        self._home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _close_all_but({0, 1, 2, channel.fileno(), self._home})
        channel.setblocking(False)
        self._woken = wake_on(signal.SIGCHLD, KILL)
        self._poll = select.poll()
        for fd in (channel.fileno(), self._woken):
            self._poll.register(fd, select.POLLIN)
        _prepare_for_steps()
        if not kernel.signal_on_parent_death(KILL, supervisor):
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (KILL,))

    def serve(self) -> None:
        """Do what the supervisor asks for."""
        while True:
            self._poll.poll()
            if KILL in self._signals():
                return
            with contextlib.suppress(BlockingIOError):
                received = protocol.receive(self._channel)
                if received is None:
                    return
                self._do(*received)
                if received[0].get("last"):
                    return

    def _do(self, message: protocol.Message, fds: list[int]) -> None:
        match message["op"]:
            case "run":
                told, output, result = fds
                listen = partial(self._listen, message["id"])
                run_step(self._read(told), output, result, home=self._home, listen=listen)
                os.close(result)
            case "remove":
                (result,) = fds
                try:
                    remove_tree(message["path"])
                except OSError as error:
                    report(result, {"error": str(error)})
                os.close(result)
            case "clear":
                remove_own(message["path"])
            case _:
                return  # the stop of a step that had ended by then
        if not message.get("last"):
            protocol.send(self._channel, {"op": "done"})

    def _read(self, command: int) -> Command:
        with open(command, "rb") as file:
            file.seek(0)
            told = Command(**json.loads(file.read()))
        return told if told.hidden is None else replace(told, hidden=(*told.hidden, *all_below(self._root)))

    def _listen(self, job_id: int, seconds: float | None) -> Word:
        """Wait for what concerns the step that is this job."""
        self._poll.poll(None if seconds is None else 1000 * seconds)
        if KILL in self._signals():
            return Word.KILL
        try:
            received = protocol.receive(self._channel)
        except BlockingIOError:
            return Word.NEWS
        if received is None:
            return Word.KILL
        return Word.STOP if received[0] == {"op": "stop", "id": job_id} else Word.NEWS

    def _signals(self) -> bytes:
        try:
            return os.read(self._woken, 4096)
        except BlockingIOError:
            return b""


def _prepare_for_steps() -> None:
    """What every process of a step inherits."""
    kernel.become_subreaper()
    kernel.give_up_new_privileges()
    kernel.withhold_capabilities()
    kernel.prefer_for_oom_kill()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o022)


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the one that listed them is closed already
                os.close(int(name))
