"""The processes of one step, from its shell to the last that came of it."""

from __future__ import annotations

import os
import signal
import time
from enum import Enum, auto
from typing import Protocol

from projectsetup.engines.local.supervisor import kernel
from projectsetup.engines.local.supervisor.processes import descendants, kill_round, send
from projectsetup.engines.local.supervisor.results import report
from projectsetup.engines.local.supervisor.shell import Command, start_shell

_KILL_AGAIN = 0.02


class Word(Enum):
    """What a warden can be told while it runs a step."""

    NEWS = auto()
    """A process may have ended, or the time is up."""
    STOP = auto()
    """SIGTERM to all of the step, SIGKILL after its grace."""
    KILL = auto()
    """SIGKILL to all of the step."""


class Listen(Protocol):
    """Wait for a word, so many seconds at most; None: as long as it takes."""

    def __call__(self, seconds: float | None) -> Word:
        """The word."""
        ...


def run_step(command: Command, output: int, result: int, *, home: int, listen: Listen) -> None:
    """Run the step to its end, and report that; `output` is closed here. Nothing of it is alive then."""
    kills_before = kernel.oom_kills()
    try:
        shell = start_shell(command, output, home)
    except (OSError, ValueError) as error:
        report(result, {"error": str(error)})
        return
    finally:
        os.close(output)
    step = _Step(shell, command.grace, listen)
    step.watch()
    oom = kernel.oom_kills() > kills_before
    report(result, {"status": step.status, "oom": oom, "killed": step.killed})


class _Step:
    def __init__(self, shell: int, grace: float, listen: Listen) -> None:
        self.status: int | None = None
        self.killed = False
        self._shell = shell
        self._grace = grace
        self._listen = listen
        self._deadline: float | None = None

    def watch(self) -> None:
        """Returns when no descendant is left."""
        while self._reap():
            if self.killed or self._shell_is_over() or self._grace_is_over():
                kill_round()
                self._wait(_KILL_AGAIN)
            else:
                self._wait(None if self._deadline is None else max(self._deadline - time.monotonic(), 0))

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
        word = self._listen(seconds)
        if word is Word.KILL:
            self.killed = True
        elif word is Word.STOP and self._deadline is None:
            self._deadline = time.monotonic() + self._grace
            everyone = descendants()
            send(signal.SIGTERM, everyone)
            send(signal.SIGCONT, everyone)
