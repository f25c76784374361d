"""A control group of its own for everything of one node: where its containers live, and how all of them are ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError
from devcluster.node.mounts import mounts
from devcluster.processes import start_time

POLL: Final = 0.02
NEEDED: Final = ("cpu", "cpuset", "memory", "pids")


class ControlGroup:
    """One group of the same name in each hierarchy that is mounted, of version 1 and of version 2."""

    def __init__(self, name: str) -> None:
        self.path = f"/{name}"
        hierarchies = [mount for mount in mounts() if mount.kind in {"cgroup", "cgroup2"}]
        self._folders = [mount.point / name for mount in hierarchies]
        joined = [mount for mount in hierarchies if mount.kind == "cgroup" and "pids" in mount.options]
        self._programs = [mount.point / name / "node" for mount in joined or hierarchies][:1]

    def create(self) -> None:
        """Make the groups where they are not there."""
        for folder in self._folders:
            folder.mkdir(exist_ok=True)
            control = folder.parent / "cgroup.subtree_control"
            if control.exists() and "memory" in (folder.parent / "cgroup.controllers").read_text():
                control.write_text(" ".join(f"+{name}" for name in NEEDED))
        for folder in self._programs:
            folder.mkdir(exist_ok=True)

    def joined(self, command: Sequence[str]) -> list[str]:
        """A command that runs `command` in the group, so that it ends with it whatever becomes of its parents."""
        script = 'echo $$ > "$0" && exec "$@"'
        return ["/bin/sh", "-c", script, *(str(folder / "cgroup.procs") for folder in self._programs), *command]

    def kill(self, *, limit: float = 20.0) -> None:
        """SIGKILL for all that lives in it; returns when all of it is gone."""
        end = time.monotonic() + limit
        while members := self._members():
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if time.monotonic() > end:
                raise DevclusterError(f"processes {members} did not go within {limit:.0f} s after SIGKILL")
            time.sleep(POLL)

    def remove(self, *, limit: float = 10.0) -> None:
        """Remove the groups, after `kill`."""
        end = time.monotonic() + limit
        while any(not _removed(folder) for folder in self._folders):
            if time.monotonic() > end:
                raise DevclusterError(f"the control group {self.path} could not be removed within {limit:.0f} s")
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
