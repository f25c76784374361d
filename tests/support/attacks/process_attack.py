"""What code in a step tries against other processes of its user: `python process_attack.py TERCES REPORT [PID]…`.

The secret is given backwards, so that what attacks does not hold it. It needs the standard library alone. Without PID
it attacks every process that it can see, except those of its own session. Each line of REPORT is one success.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_ATTACH, _DETACH = 16, 17
_libc = ctypes.CDLL(None)


def main(backwards: str, report: str, *pids: str) -> None:
    """Attack, and write the report."""
    secret = backwards[::-1].encode()
    victims = [int(pid) for pid in pids] or _all_others()
    found = [f"{pid} {what}\n" for pid in victims for what in _successes(pid, secret)]
    Path(report).write_text(f"attacked {len(victims)}\n{''.join(found)}")


def _successes(pid: int, secret: bytes) -> Iterator[str]:
    place = Path(f"/proc/{pid}")
    if secret in _read(place / "cmdline"):
        yield "cmdline"
    for name in ("environ", "maps", "auxv"):
        if _read(place / name):
            yield name
    with contextlib.suppress(OSError):
        (place / "mem").open("rb").close()
        yield "mem"
    for name in ("fd/0", "root", "cwd", "exe"):
        with contextlib.suppress(OSError):
            (place / name).readlink()
            yield name
    if _libc.ptrace(_ATTACH, pid, None, None) == 0:
        os.waitpid(pid, 0)
        _libc.ptrace(_DETACH, pid, None, None)
        yield "ptrace"
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        yield "kill"


def _all_others() -> Sequence[int]:
    own = os.getsid(0)
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _session(pid) not in (own, None)]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    main(*sys.argv[1:])
