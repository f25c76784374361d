"""What is mounted on this machine, mounting a folder a second time, and taking away what is mounted below one."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError

DETACH: Final = 2
"""umount2(2): what is still in use goes when its last user goes."""
BIND: Final = 1 << 12
PRIVATE: Final = 1 << 18
SHARED: Final = 1 << 20
"""mount(2): where a folder is seen, and whether what is mounted below it is seen in other places too."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo: where, the kind of file system, and its options."""

    point: Path
    kind: str
    options: tuple[str, ...]


def mounts() -> list[Mount]:
    """All mounts."""
    return parse(os.fsdecode(Path("/proc/self/mountinfo").read_bytes()))


def parse(table: str) -> list[Mount]:
    """The mounts that a table like /proc/self/mountinfo tells of."""
    found = []
    for line in table.splitlines():
        place, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), place.split(" ")[4])
        found.append(Mount(Path(point), kind, tuple(options.split(","))))
    return found


def kind_at(folder: Path) -> str:
    """The kind of file system that a folder is on."""
    place = folder.resolve()
    holding = [mount for mount in mounts() if place.is_relative_to(mount.point)]
    return max(holding, key=lambda mount: len(mount.point.parts)).kind


def bind(source: Path, target: Path) -> None:
    """Let the folder `source` be seen at `target` too, where it is not yet; containers may see what is mounted there,
    no other place does."""
    if any(mount.point == target for mount in mounts()):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (BIND, PRIVATE, SHARED):
        if libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None) != 0:
            raise DevclusterError(f"{source} could not be mounted at {target}: {os.strerror(ctypes.get_errno())}")


def unmount_below(*folders: Path) -> None:
    """Detach all that is mounted on or below the folders; DevclusterError where that is refused.

    What another mount hides is reached when that one is gone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    left = _points_below(folders)
    while before := left:
        for point in reversed(before):
            libc.umount2(os.fsencode(point), DETACH)
        left = _points_below(folders)
        if len(left) >= len(before):
            raise DevclusterError(f"{left[-1]} could not be unmounted: {os.strerror(ctypes.get_errno())}")


def _points_below(folders: Sequence[Path]) -> list[Path]:
    places = [folder.resolve() for folder in folders]
    return [mount.point for mount in mounts() if any(map(mount.point.is_relative_to, places))]
