"""Processes that a dead operator's steps have left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection

from projectsetup.engines.local.supervisor.processes import process_ids, send

_LIMIT = 10.0
_AGAIN = 0.01
_PLACES = (b"WORKSPACE", b"STEP_OUTPUTS")


def kill_leftovers(directories: Collection[str]) -> int:
    """End all processes whose workspace or current directory is in one of these; how many there were.

    Raises TimeoutError when some are still there after ten seconds.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + _LIMIT
    while directories:
        found = [pid for pid in process_ids() if _belongs_to(pid, directories)]
        if not found:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} processes of dead operators do not end, such as process {found[0]}")
        send(signal.SIGSTOP, found)
        send(signal.SIGKILL, found)
        killed.update(found)
        time.sleep(_AGAIN)
    return len(killed)


def _belongs_to(pid: int, directories: Collection[str]) -> bool:
    if pid == os.getpid():
        return False
    places = (_working_directory(pid), *_told_places(pid))
    return any(f"{place}/".startswith(f"{directory}/") for place in places for directory in directories)


def _working_directory(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _told_places(pid: int) -> list[str]:
    """Places that every process of a step has inherited in its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            variables = file.read().split(b"\0")
    except OSError:
        return []
    told = (variable.partition(b"=") for variable in variables)
    return [os.fsdecode(value) for name, _, value in told if name in _PLACES]
