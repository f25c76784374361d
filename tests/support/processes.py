"""The processes of this machine, as /proc tells of them."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def new_mark() -> str:
    """Something to know processes by; as a number of seconds it is also the argument of a very long sleep."""
    return f"86400.{secrets.randbelow(10**12):012d}"


def living(mark: str) -> set[int]:
    """The processes that hold `mark` in their arguments or their environment; zombies hold nothing any more."""
    return {pid for pid in _all() if mark.encode() in _told(pid, "cmdline") + _told(pid, "environ")}


def sessions(pids: set[int]) -> set[int]:
    """The sessions that these processes are in."""
    found: set[int] = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            found.add(os.getsid(pid))
    return found


def children(parent: int) -> set[int]:
    """The processes that `parent` has started, zombies too."""
    return {pid for pid in _all() if _parent(pid) == parent}


def _all() -> list[int]:
    """The newest first: a process that lives on in ever new ones is met before it has moved on."""
    return sorted((int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()), reverse=True)


def _told(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int | None:
    stat = _told(pid, "stat")
    return int(stat.rpartition(b")")[2].split()[1]) if stat else None
