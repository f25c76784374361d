"""A warden runs operations one after another, steps and removals; each step ends completely before the next."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
from functools import partial
from typing import Final

from projectsetup.engines.local.supervisor import kernel, landlock, protocol
from projectsetup.engines.local.supervisor.directories import list_all, remove_own, remove_tree
from projectsetup.engines.local.supervisor.outputs import OutputsFile
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
                request, *outputs, results = fds
                with open(request, "rb") as file:
                    file.seek(0)
                    steps = json.loads(file.read())
                try:
                    self._run_steps(message["id"], steps, outputs, results)
                except OSError as error:
                    protocol.write_result(results, {"error": str(error), "continues": False})
                for fd in (*outputs, results):
                    os.close(fd)
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

    def _run_steps(self, operation_id: int, steps: protocol.Message, outputs: list[int], results: int) -> None:
        """Run one after another as long as each succeeds and none is stopped. Closes and removes their `outputs`."""
        reported = OutputsFile(steps["outputs"])
        rules = self._rules(steps["hidden"], steps["visible"])
        try:
            for number, command in enumerate(steps["commands"]):
                for folder in steps["folders"]:
                    with contextlib.suppress(OSError):  # it exists, or a step deliberately put a file there
                        os.mkdir(folder, 0o700)
                command["environment"]["STEP_OUTPUTS"] = reported.prepare()
                step = Command(**command, directory=steps["directory"], grace=steps["grace"], rules=rules)
                wait = partial(self._wait, operation_id, number)
                result = run_step(step, outputs.pop(0), home=self._home, wait=wait)
                succeeded = result.get("status") == 0 and not result["killed"] and not result["stopped"]
                continues = succeeded and bool(outputs)
                protocol.write_result(results, {**result, "outputs": reported.changed(), "continues": continues})
                if not continues:
                    return
        finally:
            if rules is not None:
                os.close(rules)

    def _rules(self, hidden: list[str] | None, visible: list[str]) -> int | None:
        """The rules of the domains of these steps, which also hide the directories of all supervisors."""
        if not landlock.abi():
            return None
        if hidden is None:
            return landlock.new_rules((), ("/",))
        return landlock.new_rules((*hidden, *list_all(self._root)), visible)

    def _wait(self, operation_id: int, number: int, seconds: float | None) -> Wakeup:
        """Wait for what concerns this step of this operation."""
        self._poll.poll(None if seconds is None else 1000 * seconds)
        if KILL in self._read_signals():
            return Wakeup.KILL
        try:
            received = protocol.receive(self._channel)
        except BlockingIOError:
            return Wakeup.CHECK
        if received is None:
            return Wakeup.KILL
        message, _ = received
        is_meant = message["op"] == "stop" and message["id"] == operation_id and message["step"] in {None, number}
        return Wakeup.STOP if is_meant else Wakeup.CHECK

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
