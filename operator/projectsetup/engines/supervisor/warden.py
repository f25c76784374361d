"""The warden of one step: it starts the step's shell and does not end before everything that came of it has ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

from projectsetup.engines.supervisor import kernel
from projectsetup.engines.supervisor.processes import descendants, kill_round, send
from projectsetup.engines.supervisor.results import report
from projectsetup.engines.supervisor.shell import Command, become_shell

STOP = signal.SIGUSR1
"""SIGTERM to all of the step, SIGKILL after its grace."""
KILL = signal.SIGUSR2
"""SIGKILL to all of the step. The kernel sends it when the supervisor has ended."""

_SIGNALS = (signal.SIGCHLD, STOP, KILL)
_KILL_AGAIN = 0.02


def run_warden(supervisor: int, command_fd: int, output: int, result: int) -> None:
    """Be the warden, in a fork of the supervisor: the three file descriptors are all that it keeps open."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_SIGNALS, signal.SIGTERM))  # SIGTERM finds the shell when it is ready
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kernel.become_subreaper()
    if not kernel.signal_on_parent_death(KILL, supervisor):
        os._exit(1)
    _close_all_but({0, 1, 2, command_fd, output, result})
    with open(command_fd, "rb") as file:
        file.seek(0)
        command = Command(**json.loads(file.read()))
    kills_before = kernel.oom_kills()
    shell = _start(command, output, result)
    os.close(output)
    warden = _Warden(shell, command.grace)
    warden.watch()
    oom = kernel.oom_kills() > kills_before
    report(result, {"status": warden.status, "oom": oom, "killed": warden.killed})


class _Warden:
    def __init__(self, shell: int, grace: float) -> None:
        self.status: int | None = None
        self.killed = False
        self._shell = shell
        self._grace = grace
        self._deadline: float | None = None

    def watch(self) -> None:
        """Returns when no descendant is left."""
        while self._reap():
            if self.killed or self._shell_is_over() or self._grace_is_over():
                kill_round()
                self._wait(_KILL_AGAIN)
            else:
                self._wait(None if self._deadline is None else self._deadline - time.monotonic())

    def _shell_is_over(self) -> bool:
        """Whatever the shell has left behind goes with it, except that who was sent SIGTERM has its grace."""
        return self.status is not None and self._deadline is None

    def _grace_is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _reap(self) -> bool:
        """Whether there are children left, after those that have ended were taken note of."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._shell:
                    self.status = status
        except ChildProcessError:
            return False

    def _wait(self, seconds: float | None) -> None:
        signalled = (
            signal.sigwait(_SIGNALS)
            if seconds is None
            else getattr(signal.sigtimedwait(_SIGNALS, max(seconds, 0)), "si_signo", None)
        )
        if signalled == KILL:
            self.killed = True
        elif signalled == STOP and self._deadline is None:
            self._deadline = time.monotonic() + self._grace
            everyone = descendants()
            send(signal.SIGTERM, everyone)
            send(signal.SIGCONT, everyone)


def _start(command: Command, output: int, result: int) -> int:
    warden = os.getpid()
    shell = os.fork()
    if shell == 0:
        try:
            become_shell(command, output, warden)
        except (OSError, ValueError) as error:
            report(result, {"error": str(error)})
        finally:
            os._exit(127)
    return shell


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the one that listed them is closed already
                os.close(int(name))
