"""TCP ports of 127.0.0.1: finding free ones, and telling whose they are."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

CHOICE: Final = range(20_000, 30_000)
"""Below what Linux gives to outgoing connections, so that a stopped part finds its port free when it comes back."""
_LISTEN: Final = "0A"


def free_port() -> int:
    """A port that nobody listens on just now; OSError when there is none."""
    for port in random.sample(CHOICE, len(CHOICE)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port from {CHOICE.start} to {CHOICE.stop - 1} is free")


def listens(pid: int, port: int) -> bool:
    """Whether it is this very process that listens on the port, and not another one that was quicker."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    try:
        return any(_target(descriptor) in sockets for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _listening_inodes(port: int) -> list[str]:
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [row[9] for row in rows if row[3] == _LISTEN and row[1].endswith(f":{port:04X}")]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
