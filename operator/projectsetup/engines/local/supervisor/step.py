"""One step: `sh -euc` in its own session, and all its descendants."""

from __future__ import annotations

import _thread
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from projectsetup.engines.local.supervisor import kernel, landlock
from projectsetup.engines.local.supervisor.processes import descendants, kill_round, send_signal
from projectsetup.engines.local.supervisor.protocol import Message

SHELL = "/bin/sh"
_KILL_INTERVAL = 0.02


@dataclass(frozen=True, slots=True)
class Command:
    """What a step runs; `grace` is in seconds, between SIGTERM and SIGKILL.

    `rules` are those of its Landlock domain, from `landlock.new_rules`; None where the kernel has no Landlock.
    """

    script: str
    environment: dict[str, str]
    directory: str
    grace: float
    rules: int | None


class Wakeup(Enum):
    """Why a warden that runs a step woke up."""

    CHECK = auto()
    """A process may have ended, or the time is up."""
    STOP = auto()
    """Send SIGTERM to the whole step, and SIGKILL after its grace."""
    KILL = auto()
    """Send SIGKILL to the whole step."""


Wait = Callable[[float | None], Wakeup]
"""Waits for this many seconds at most, without a limit when None."""


def run_step(command: Command, output: int, *, home: int, wait: Wait) -> Message:
    """Run the step until none of its processes is alive; returns its result. Closes `output`."""
    kills_before = kernel.oom_kills()
    try:
        shell = start_shell(command, output, home)
    except (OSError, ValueError) as error:
        return {"error": str(error)}
    finally:
        os.close(output)
    step = _Step(shell, command.grace, wait)
    step.run()
    oom = step.status != 0 and kernel.oom_kills() > kills_before
    return {"status": step.status, "oom": oom, "killed": step.killed, "stopped": step.stopped}


class _Step:
    def __init__(self, shell: int, grace: float, wait: Wait) -> None:
        self.status: int | None = None
        self.killed = False
        self._shell = shell
        self._grace = grace
        self._wait = wait
        self._deadline: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop before its end."""
        return self._deadline is not None

    def run(self) -> None:
        """Return when there is no descendant left."""
        while self._reap():
            if self.killed or self._shell_ended() or self._grace_expired():
                kill_round()
                self._sleep(_KILL_INTERVAL)
            else:
                self._sleep(None if self._deadline is None else max(self._deadline - time.monotonic(), 0))

    def _shell_ended(self) -> bool:
        """What the shell left behind ends with it; after SIGTERM it still has its grace."""
        return self.status is not None and self._deadline is None

    def _grace_expired(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _reap(self) -> bool:
        """Reap children that have ended; False when there are no children left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._shell:
                    self.status = status
        except ChildProcessError:
            return False

    def _sleep(self, seconds: float | None) -> None:
        wakeup = self._wait(seconds)
        if wakeup is Wakeup.KILL:
            self.killed = True
        elif wakeup is Wakeup.STOP and self._deadline is None:
            self._deadline = time.monotonic() + self._grace
            processes = descendants()
            send_signal(signal.SIGTERM, processes)
            send_signal(signal.SIGCONT, processes)


def start_shell(command: Command, output: int, home: int) -> int:
    """Start the step's shell in its own session and Landlock domain; returns its process id.

    Raises OSError or ValueError when it cannot be started. posix_spawn saves most of the cost of a fork but inherits
    the working directory, so this process changes to the step's directory and back to `home`.
    """
    os.chdir(command.directory)
    try:
        if command.rules is None:
            return _spawn(command, output)
        return _ConfinedStart(command, output, command.rules).result()
    finally:
        os.fchdir(home)


class _ConfinedStart:
    """Starts the shell from a thread that has entered a new domain, since a thread can never leave its domain."""

    def __init__(self, command: Command, output: int, rules: int) -> None:
        self._command = command
        self._output = output
        self._rules = rules
        self._shell = 0
        self._error: Exception | None = None
        self._running = _thread.allocate_lock()  # a Thread of the standard library takes three times as long

    def result(self) -> int:
        """The process id of the shell. Raises what starting it raised."""
        self._running.acquire()
        _thread.start_new_thread(self._run, ())
        self._running.acquire()
        if self._error is not None:
            raise self._error
        return self._shell

    def _run(self) -> None:
        try:
            landlock.enter_domain(self._rules)
            self._shell = _spawn(self._command, self._output)
        except (OSError, ValueError) as error:
            self._error = error
        finally:
            self._running.release()


def _spawn(command: Command, output: int) -> int:
    return os.posix_spawn(
        SHELL,
        ["sh", "-euc", command.script],
        command.environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=handled_signals(),
    )


@cache
def handled_signals() -> tuple[signal.Signals, ...]:
    """The signals that this interpreter or its parent ignores or handles; a step starts with their defaults."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return tuple(signal.Signals(number) for number in numbers if signal.getsignal(number) is not signal.SIG_DFL)
