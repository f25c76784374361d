"""The process tree below this process: finding, signalling and killing it, and what dead operators left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable

_STOP_ROUNDS = 10
_LEFTOVER_LIMIT = 10.0
_KILL_INTERVAL = 0.01
_DIRECTORY_VARIABLES = (b"WORKSPACE", b"STEP_OUTPUTS")
"""Every process of a step inherits them."""


def descendants(spare: Collection[int] = ()) -> list[int]:
    """All processes below this one, parents before children, without the children in `spare` and their descendants."""
    children: dict[int, list[int]] = {}
    for pid in _process_ids():
        parent = _parent(pid)
        if parent is not None:
            children.setdefault(parent, []).append(pid)
    found = [pid for pid in children.get(os.getpid(), ()) if pid not in spare]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def kill_round(spare: Collection[int] = ()) -> bool:
    """Send SIGKILL to all descendants except the spared; True when there were none. The caller reaps.

    They are stopped first, parents before children, so that none reacts to the end of another: no shell runs its next
    command, and no process forks faster than its children are found.
    """
    stopped: set[int] = set()
    for _ in range(_STOP_ROUNDS):
        new = [pid for pid in descendants(spare) if pid not in stopped]
        if not new:
            break
        send_signal(signal.SIGSTOP, new)
        stopped.update(new)
    send_signal(signal.SIGKILL, stopped)
    return not stopped


def kill_leftovers(directories: Collection[str]) -> int:
    """Kill all processes whose workspace or current directory is in one of these; returns how many there were.

    Raises TimeoutError when some still run after ten seconds.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + _LEFTOVER_LIMIT
    while directories:
        found = [pid for pid in _process_ids() if _belongs_to(pid, directories)]
        if not found:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"cannot kill {len(found)} processes of dead operators, such as process {found[0]}")
        send_signal(signal.SIGSTOP, found)
        send_signal(signal.SIGKILL, found)
        killed.update(found)
        time.sleep(_KILL_INTERVAL)
    return len(killed)


def send_signal(number: int, pids: Iterable[int]) -> None:
    """Signal these processes; skips those that have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def wake_on(*numbers: signal.Signals) -> int:
    """A non-blocking file descriptor to poll: the numbers of these signals can be read from it once they arrive.

    Each process has its own; a fork cannot use its parent's.
    """
    reading, writing = os.pipe()
    for fd in (reading, writing):
        os.set_blocking(fd, False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _process_ids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(1024)
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 1 :].split()[1])


def _belongs_to(pid: int, directories: Collection[str]) -> bool:
    if pid == os.getpid():
        return False
    paths = (_working_directory(pid), *_environment_directories(pid))
    return any(f"{path}/".startswith(f"{directory}/") for path in paths for directory in directories)


def _working_directory(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _environment_directories(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            variables = file.read().split(b"\0")
    except OSError:
        return []
    pairs = (variable.partition(b"=") for variable in variables)
    return [os.fsdecode(value) for name, _, value in pairs if name in _DIRECTORY_VARIABLES]
