"""What processes use: CPU seconds and memory, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB of one process: what is resident, and its share where pages are shared."""

    rss: float
    pss: float


def memory(pid: int) -> Memory:
    """What this process occupies now."""
    fields = dict(line.split()[:2] for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:])
    return Memory(rss=int(fields["Rss:"]) / 1024, pss=int(fields["Pss:"]) / 1024)


def peak(pid: int) -> float:
    """MiB that this process has ever occupied at most."""
    fields = dict(line.split(":", 1) for line in (_PROC / str(pid) / "status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def children(pid: int) -> list[int]:
    """The processes that this one has started and that still run."""
    return [int(child) for child in (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, of all below it, and of all that they have waited for."""
    seconds = 0.0
    for member in _tree(pid):
        try:
            fields = (_PROC / str(member) / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile: its parent tells of it
            continue
        seconds += sum(int(field) for field in fields[11:15]) / _TICKS
    return seconds


def _tree(ancestor: int) -> list[int]:
    below: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        below.setdefault(parent, []).append(int(entry.name))
    found = [ancestor]
    for pid in found:
        found += below.get(pid, [])
    return found
