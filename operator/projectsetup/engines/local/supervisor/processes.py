"""The tree of processes below this one, and how it is ended so that nothing of it escapes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Iterable

_STOP_ROUNDS = 10


def descendants(spare: Collection[int] = ()) -> list[int]:
    """All processes below this one, parents before their children; children in `spare` and what is below them not."""
    children: dict[int, list[int]] = {}
    for pid in process_ids():
        parent = _parent(pid)
        if parent is not None:
            children.setdefault(parent, []).append(pid)
    found = [pid for pid in children.get(os.getpid(), ()) if pid not in spare]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def kill_round(spare: Collection[int] = ()) -> bool:
    """Send SIGKILL to all descendants but the spared; True when there was none.

    They are stopped first, parents before their children, so that none acts on the end of another: no shell goes on
    to its next command, and none is faster in starting processes than they are found. Reaping is left to the caller.
    """
    stopped: set[int] = set()
    for _ in range(_STOP_ROUNDS):
        new = [pid for pid in descendants(spare) if pid not in stopped]
        if not new:
            break
        send(signal.SIGSTOP, new)
        stopped.update(new)
    send(signal.SIGKILL, stopped)
    return not stopped


def send(number: int, pids: Iterable[int]) -> None:
    """Signal these processes; those that are gone are passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def process_ids() -> list[int]:
    """All processes that can be seen from here, in ascending order."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(1024)
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 1 :].split()[1])
