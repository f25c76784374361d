"""Who holds the Lease: the pod's name, so that a restarted container takes it back; elsewhere a process of a machine.

Outside of a pod the name says which process on which boot of which machine it is. So the next operator there can see
for itself that the holder is dead, and need not wait for the Lease to end.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from projectsetup.kube.connection import in_pod


def own_identity() -> str:
    """The name under which this process holds the Lease."""
    if in_pod():
        return socket.gethostname()
    return f"{_machine()}.{os.getpid()}.{_start_time(os.getpid())}"


def is_dead(holder: str) -> bool:
    """Whether `holder` is a process of this machine that is certainly no more."""
    machine, dot, process = holder.rpartition(".")
    machine, dot_before, pid = machine.rpartition(".")
    if in_pod() or not (dot and dot_before) or machine != _machine() or not pid.isdigit():
        return False
    return _start_time(int(pid)) != process


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    process_ids = Path("/proc/self/ns/pid").stat().st_ino
    return f"{socket.gethostname()}.{boot}.{process_ids}"


def _start_time(pid: int) -> str | None:
    """Clock ticks after boot at which the process began (proc(5), field 22); None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]
