"""The last moments before a step's shell: from a fork of the warden to `sh -euc`."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass
from functools import cache

from projectsetup.engines.supervisor import kernel

SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True)
class Command:
    """What a step runs, where, with what; `grace` are the seconds between SIGTERM and SIGKILL."""

    script: str
    environment: dict[str, str]
    directory: str
    grace: float


def become_shell(command: Command, output: int, warden: int) -> None:
    """Turn this process into the step's shell. Returns only by raising: OSError or ValueError when it cannot be."""
    os.setsid()
    if not kernel.signal_on_parent_death(signal.SIGKILL, warden):
        os._exit(1)
    kernel.give_up_new_privileges()
    kernel.prefer_for_oom_kill()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.chdir(command.directory)
    _reset_signals()
    os.execve(SHELL, ["sh", "-euc", command.script], command.environment)  # noqa: S606  # this is where steps are run


@cache
def signals_of_the_supervisor() -> tuple[signal.Signals, ...]:
    """Those that this interpreter or whoever started it ignores or handles: a step meets all signals as they are."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return tuple(number for number in numbers if signal.getsignal(number) is not signal.SIG_DFL)


def _reset_signals() -> None:
    for number in signals_of_the_supervisor():
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
