"""What is mounted on this machine, and taking away what is mounted below a folder."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError

DETACH: Final = 2
"""umount2(2): what is still in use goes when its last user goes."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo: where, the kind of file system, and its options."""

    point: Path
    kind: str
    options: tuple[str, ...]


def mounts() -> list[Mount]:
    """All mounts, in the order in which they were made."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), place.split()[4])
        found.append(
            Mount(Path(os.fsdecode(point.encode("latin-1", "surrogateescape"))), kind, tuple(options.split(",")))
        )
    return found


def unmount_below(*folders: Path) -> None:
    """Detach all that is mounted on or below the folders; DevclusterError where that is refused."""
    places = [folder.resolve() for folder in folders]
    libc = ctypes.CDLL(None, use_errno=True)
    for mount in reversed(mounts()):
        if any(mount.point.is_relative_to(place) for place in places) and libc.umount2(bytes(mount.point), DETACH) != 0:
            raise DevclusterError(f"{mount.point} could not be unmounted: {os.strerror(ctypes.get_errno())}")
