"""Background programs that outlive this process and are found again by process id and start time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devcluster.errors import DevclusterError, PortTaken
from devcluster.ports import listens

POLL: Final = 0.03
LOG_TAIL: Final = 400

_children: dict[int, subprocess.Popen[bytes]] = {}
"""The children of this process, to be reaped."""


def start_time(pid: int) -> str | None:
    """Start time of the process in clock ticks since boot (proc(5), field 22); None if it has ended or is a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in {"Z", "X"} else fields[19]


def wait_until(condition: Callable[[], bool], *, what: str, limit: float) -> None:
    """Wait until the condition holds; DevclusterError, which names `what`, after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise DevclusterError(f"timed out after {limit:.0f} s waiting for {what}")
        time.sleep(POLL)


def is_in_use(folder: Path) -> bool:
    """Whether a process that we can inspect has this folder as its working directory."""
    place = folder.resolve()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").readlink() == place:
                return True
        except OSError:
            continue
    return False


class Program:
    """A program of a cluster, with its pid file and log in the folder of the cluster."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.log = directory / "logs" / f"{name}.log"
        self._pid_file = directory / f"{name}.pid"
        self._log_begin = 0

    def spawn(self, arguments: Sequence[str]) -> None:
        """Start it in its own session, so that it outlives this process."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log, defer_signals():
            self._log_begin = log.tell()
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
            self._pid_file.write_text(f"{process.pid} {start_time(process.pid)}")
        _children[process.pid] = process

    def run(self, arguments: Sequence[str]) -> int:
        """Start it and wait for it; the exit code. Its pid file lets another command kill it."""
        self.spawn(arguments)
        pid = int(self._pid_file.read_text().split()[0])
        code = _children[pid].wait()
        del _children[pid]
        return code

    @property
    def pid(self) -> int | None:
        """Its process id while it runs; None also if another process has reused the id."""
        try:
            pid, started = self._pid_file.read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_time(int(pid)) == started else None

    def await_ready(self, ready: Callable[[], bool], *, limit: float, port: int | None = None) -> None:
        """Wait up to `limit` seconds until it listens on `port`, if given, and is `ready`.

        Raises PortTaken if another process has the port, else DevclusterError with the end of its log.
        """
        end = time.monotonic() + limit
        while (pid := self.pid) is not None:
            if (port is None or listens(pid, port)) and ready():
                return
            if time.monotonic() > end:
                raise DevclusterError(f"{self.name} was not ready within {limit:.0f} s: {self.log_tail()}")
            time.sleep(POLL)
        tail = self.log_tail()
        error = PortTaken if "address already in use" in tail.lower() else DevclusterError
        raise error(f"{self.name} exited during start: {tail}")

    def log_tail(self) -> str:
        """The end of its log since the last start, as one line."""
        text = self.log.read_bytes()[self._log_begin :].decode(errors="replace") if self.log.exists() else ""
        return " ".join(text.split())[-LOG_TAIL:] or "no log output"

    def kill(self, *, limit: float = 10.0) -> None:
        """Kill it and all its descendants with SIGKILL and wait until they have ended."""
        pid = self.pid
        if pid is None:
            return
        _signal([pid], signal.SIGSTOP)
        doomed = {member: start_time(member) for member in [pid, *_descendants(pid)]}
        _signal(doomed, signal.SIGKILL)
        end = time.monotonic() + limit
        while any(began is not None and start_time(member) == began for member, began in doomed.items()):
            if time.monotonic() > end:
                raise DevclusterError(f"{self.name} (process {pid}) is still running {limit:.0f} s after SIGKILL")
            time.sleep(POLL)
        if (child := _children.pop(pid, None)) is not None:
            child.wait()


def _descendants(ancestor: int) -> list[int]:
    parents = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")}
    found = [ancestor]
    for parent in found:
        found += [pid for pid, fields in parents.items() if fields is not None and int(fields[1]) == parent]
    return found[1:]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat that follow the name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the end of the block, so that they cannot leave an unrecorded process behind.

    Has no effect outside the main thread, the only one in which Python handles signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    handlers = {
        number: signal.signal(number, lambda caught, _: waiting.append(caught))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for caught in waiting:
            signal.raise_signal(caught)
