"""The processes of this machine, read from /proc."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def new_mark() -> str:
    """A mark to recognize processes by; it also works as the argument of a very long sleep."""
    return f"86400.{secrets.randbelow(10**12):012d}"


def living(mark: str) -> set[int]:
    """The processes with `mark` in their arguments or environment, without zombies."""
    return {pid for pid in all_pids() if mark.encode() in _read(pid, "cmdline") + _read(pid, "environ")}


def has_ended(pid: int) -> bool:
    """Whether this process is gone, or a zombie, which holds neither files nor locks."""
    stat = _read(pid, "stat")
    return not stat or stat.rpartition(b")")[2].split()[0] == b"Z"


def sessions(pids: set[int]) -> set[int]:
    """The sessions of these processes."""
    found: set[int] = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            found.add(os.getsid(pid))
    return found


def children(parent: int) -> set[int]:
    """The children of `parent`, including zombies."""
    return {pid for pid in all_pids() if _parent(pid) == parent}


def all_pids() -> list[int]:
    """All processes, newest first: this finds a process that keeps forking itself before it forks again."""
    return sorted((int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()), reverse=True)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int | None:
    stat = _read(pid, "stat")
    return int(stat.rpartition(b")")[2].split()[1]) if stat else None
