"""What a node uses of its host: mounts, its own cgroup, and kernel settings."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError
from devcluster.processes import start_time

DETACH: Final = 2
"""umount2(2): detach now, unmount when the last user is done."""
BIND: Final = 1 << 12
PRIVATE: Final = 1 << 18
SHARED: Final = 1 << 20
"""mount(2): bind mounts and mount propagation."""
POLL: Final = 0.02
NEEDED: Final = ("cpu", "cpuset", "memory", "pids")
SETTINGS: Final = Path("/proc/sys")
CHANGED: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""Kernel settings that every kubelet changes, and its values."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount point, its file system type, and its options."""

    point: Path
    kind: str
    options: tuple[str, ...]


def mounts() -> list[Mount]:
    """All mounts of this process."""
    return parse(os.fsdecode(Path("/proc/self/mountinfo").read_bytes()))


def parse(table: str) -> list[Mount]:
    """Parse a table in the format of /proc/self/mountinfo."""
    found = []
    for line in table.splitlines():
        place, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), place.split(" ")[4])
        found.append(Mount(Path(point), kind, tuple(options.split(","))))
    return found


def kind_at(folder: Path) -> str:
    """The type of the file system that holds a folder."""
    place = folder.resolve()
    holding = [mount for mount in mounts() if place.is_relative_to(mount.point)]
    return max(holding, key=lambda mount: len(mount.point.parts)).kind


def bind(source: Path, target: Path) -> None:
    """Bind-mount `source` at `target` unless something is mounted there.

    Mounts below it propagate to containers, but to no other place.
    """
    if any(mount.point == target for mount in mounts()):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (BIND, PRIVATE, SHARED):
        if libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None) != 0:
            raise DevclusterError(f"mounting {source} at {target} failed: {os.strerror(ctypes.get_errno())}")


def unmount_below(*folders: Path) -> None:
    """Unmount everything on or below the folders, including mounts hidden by others; DevclusterError on failure."""
    libc = ctypes.CDLL(None, use_errno=True)
    left = _points_below(folders)
    while before := left:
        for point in reversed(before):
            libc.umount2(os.fsencode(point), DETACH)
        left = _points_below(folders)
        if len(left) >= len(before):
            raise DevclusterError(f"unmounting {left[-1]} failed: {os.strerror(ctypes.get_errno())}")


def _points_below(folders: Sequence[Path]) -> list[Path]:
    places = [folder.resolve() for folder in folders]
    return [mount.point for mount in mounts() if any(map(mount.point.is_relative_to, places))]


class ControlGroup:
    """A cgroup of the same name in each mounted hierarchy, of version 1 or 2, for all processes of a node."""

    def __init__(self, name: str) -> None:
        self.path = f"/{name}"
        hierarchies = [mount for mount in mounts() if mount.kind in {"cgroup", "cgroup2"}]
        self._folders = [mount.point / name for mount in hierarchies]
        joined = [mount for mount in hierarchies if mount.kind == "cgroup" and "pids" in mount.options]
        self._programs = [mount.point / name / "node" for mount in joined or hierarchies][:1]

    def create(self) -> None:
        """Create the cgroups that are missing."""
        for folder in self._folders:
            folder.mkdir(exist_ok=True)
            control = folder.parent / "cgroup.subtree_control"
            if control.exists() and "memory" in (folder.parent / "cgroup.controllers").read_text():
                control.write_text(" ".join(f"+{name}" for name in NEEDED))
        for folder in self._programs:
            folder.mkdir(exist_ok=True)

    def joined(self, command: Sequence[str]) -> list[str]:
        """A command that runs `command` in the cgroup."""
        script = 'echo $$ > "$0" && exec "$@"'
        return ["/bin/sh", "-c", script, *(str(folder / "cgroup.procs") for folder in self._programs), *command]

    def kill(self, *, limit: float = 20.0) -> None:
        """Kill all its processes with SIGKILL and wait until they have ended."""
        end = time.monotonic() + limit
        while members := self._members():
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if time.monotonic() > end:
                raise DevclusterError(f"processes {members} are still running {limit:.0f} s after SIGKILL")
            time.sleep(POLL)

    def remove(self, *, limit: float = 10.0) -> None:
        """Remove the cgroups; call `kill` first."""
        end = time.monotonic() + limit
        while any(not _removed(folder) for folder in self._folders):
            if time.monotonic() > end:
                raise DevclusterError(f"removing the cgroup {self.path} timed out after {limit:.0f} s")
            time.sleep(POLL)

    def _members(self) -> list[int]:
        found: set[int] = set()
        for folder in self._folders:
            for place, _, _ in os.walk(folder):
                try:
                    found.update(map(int, Path(place, "cgroup.procs").read_text().split()))
                except OSError:
                    continue
        return sorted(pid for pid in found if pid > 0 and start_time(pid) is not None)


def _removed(group: Path) -> bool:
    for place, _, _ in os.walk(group, topdown=False):
        try:
            Path(place).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def save_settings(saved: Path, *, settings: Path = SETTINGS) -> None:
    """Save the current settings to `saved`, unless it exists: then another node has already changed them."""
    if not saved.exists():
        found = {name: (settings / name).read_text().strip() for name in CHANGED if (settings / name).exists()}
        saved.write_text(json.dumps(found))


def restore_settings(saved: Path, *, settings: Path = SETTINGS) -> None:
    """Restore the settings in `saved` and remove it; settings changed by others since then stay."""
    if not saved.exists():
        return
    for name, value in json.loads(saved.read_text()).items():
        setting = settings / name
        if value != CHANGED[name] == setting.read_text().strip():
            setting.write_text(value)
    saved.unlink()
