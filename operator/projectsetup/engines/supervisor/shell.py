"""From a warden to `sh -euc`, the shell of a step."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import cache

SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True)
class Command:
    """What a step runs, where, with what; `grace` are the seconds between SIGTERM and SIGKILL."""

    script: str
    environment: dict[str, str]
    directory: str
    grace: float


def start_shell(command: Command, output: int, home: int) -> int:
    """The process id of the step's shell, which leads a session of its own.

    Raises OSError or ValueError when it cannot be started. It is started without a copy of this process, which costs
    most of a fork, and therefore inherits the working directory: this process goes there, and back to `home`.
    """
    os.chdir(command.directory)
    try:
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
    finally:
        os.fchdir(home)


@cache
def signals_of_the_supervisor() -> tuple[signal.Signals, ...]:
    """Those that this interpreter or whoever started it ignores or handles: a step meets all signals as they are."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return tuple(signal.Signals(number) for number in numbers if signal.getsignal(number) is not signal.SIG_DFL)
