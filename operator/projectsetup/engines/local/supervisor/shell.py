"""From a warden to `sh -euc`, the shell of a step."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from functools import cache

from projectsetup.engines.local.supervisor import landlock

SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True)
class Command:
    """What a step runs, where, with what; `grace` are the seconds between SIGTERM and SIGKILL.

    The step reaches nothing below the paths in `hidden`, except below those in `visible`; with None as `hidden` it
    reaches all files.
    """

    script: str
    environment: dict[str, str]
    directory: str
    grace: float
    hidden: tuple[str, ...] | None = None
    visible: tuple[str, ...] = ()


def start_shell(command: Command, output: int, home: int) -> int:
    """The process id of the step's shell, which leads a session of its own and is confined to a domain of its own.

    Raises OSError or ValueError when it cannot be started. It is started without a copy of this process, which costs
    most of a fork, and therefore inherits the working directory: this process goes there, and back to `home`.
    """
    os.chdir(command.directory)
    try:
        if not landlock.abi():
            return _spawn(command, output)
        visible = ("/",) if command.hidden is None else command.visible
        domain = landlock.new_domain(command.hidden or (), visible)
        try:
            return _Confined(command, output, domain).started()
        finally:
            os.close(domain)
    finally:
        os.fchdir(home)


class _Confined(threading.Thread):
    """Enters a domain and starts the shell there: only this thread cannot leave the domain any more."""

    def __init__(self, command: Command, output: int, domain: int) -> None:
        super().__init__()
        self._command = command
        self._output = output
        self._domain = domain
        self._shell = 0
        self._error: Exception | None = None

    def started(self) -> int:
        """The process id of the shell. Raises what starting it raised."""
        self.start()
        self.join()
        if self._error is not None:
            raise self._error
        return self._shell

    def run(self) -> None:
        try:
            landlock.enter(self._domain)
            self._shell = _spawn(self._command, self._output)
        except (OSError, ValueError) as error:
            self._error = error


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
        setsigdef=signals_of_the_supervisor(),
    )


@cache
def signals_of_the_supervisor() -> tuple[signal.Signals, ...]:
    """Those that this interpreter or whoever started it ignores or handles: a step meets all signals as they are."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return tuple(signal.Signals(number) for number in numbers if signal.getsignal(number) is not signal.SIG_DFL)
