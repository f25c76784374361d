"""Programs in the background that outlive us, found again by process id and start time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from devcluster.errors import DevclusterError

POLL = 0.05
LOG_TAIL = 400


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_time(pid: int) -> str | None:
    """Clock ticks after boot at which the process began (proc(5), field 22); None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]


class Program:
    """One program of a cluster: its pid file and its log stand in the cluster's folder."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.log = directory / "logs" / f"{name}.log"
        self._pid_file = directory / f"{name}.pid"

    def spawn(self, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        """Start it in a session of its own, so that it outlives us."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **(environment or {})},
                start_new_session=True,
            )
        self._pid_file.write_text(f"{process.pid} {start_time(process.pid)}")
        _CHILDREN[process.pid] = process

    @property
    def pid(self) -> int | None:
        """Its process id while it runs. A process that took over the number of a dead one is not it."""
        try:
            pid, started = self._pid_file.read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_time(int(pid)) == started else None

    def await_ready(self, ready: Callable[[], bool], *, limit: float) -> None:
        """Wait until `ready`, at most `limit` seconds; DevclusterError with the end of its log otherwise."""
        end = time.monotonic() + limit
        while not ready():
            if self.pid is None:
                raise DevclusterError(f"{self.name} ended while it started: {self.log_tail()}")
            if time.monotonic() > end:
                raise DevclusterError(f"{self.name} was not ready within {limit:.0f} s: {self.log_tail()}")
            time.sleep(POLL)

    def log_tail(self) -> str:
        """The end of its log in one line."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return " ".join(text[-LOG_TAIL:].split()) or "it logged nothing"

    def kill(self, *, limit: float = 10.0) -> None:
        """SIGKILL for all of its session; returns when all of it is gone."""
        pid = self.pid
        if pid is None:
            return
        for member in _session(pid):
            _signal(member, signal.SIGKILL)
        end = time.monotonic() + limit
        while _session(pid):
            _reap(pid)
            if time.monotonic() > end:
                raise DevclusterError(f"{self.name} (process {pid}) did not go within {limit:.0f} s after SIGKILL")
            time.sleep(POLL)
        _reap(pid)

    def forget(self) -> None:
        """Remove the pid file of a program that is gone."""
        self._pid_file.unlink(missing_ok=True)


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def _reap(pid: int) -> None:
    if (child := _CHILDREN.get(pid)) is not None and child.poll() is not None:
        del _CHILDREN[pid]


def _session(leader: int) -> list[int]:
    """All living processes of the session that `leader` leads."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and start_time(int(entry.name)) is not None:
            try:
                if os.getsid(int(entry.name)) == leader:
                    members.append(int(entry.name))
            except ProcessLookupError:
                continue
    return members


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
