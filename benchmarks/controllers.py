"""The processes that act on objects of a node, which can be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.machine import tree
from devcluster import Cluster

_MANAGER: Final = "controller-manager"
_END_LIMIT: Final = 60.0
_LOG_TAIL: Final = 1500


class Process:
    """A controller of this benchmark; its log outlives it, and `stop_signal` ends it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._command = command
        self._environment = {**os.environ, **environment}
        self._log = log
        self._stop_signal = stop_signal
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id. Raises RuntimeError if it has exited."""
        if self._popen is None or self._popen.poll() is not None:
            raise RuntimeError(f"{Path(self._command[0]).name} is not running: {self.log_tail()}")
        return self._popen.pid

    def start(self) -> None:
        """Start it without waiting."""
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log, cwd="/")

    def kill(self) -> None:
        """Kill it and all its descendants, as the end of a container does."""
        for member in tree(self.pid):
            os.kill(member, signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """Send it its stop signal and wait for its end."""
        if self._popen is not None:
            self._popen.send_signal(self._stop_signal)
            self._wait()

    def log_tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-_LOG_TAIL:] if self._log.exists() else ""

    def _wait(self) -> None:
        if self._popen is not None:
            self._popen.wait(_END_LIMIT)


def controller_manager(cluster: Cluster, log: Path) -> Process:
    """Stop the kube-controller-manager of a cluster; one with leader election, as clusters have it, to run instead."""
    pid = int((cluster.directory / f"{_MANAGER}.pid").read_text().split()[0])
    command = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    cluster.stop(_MANAGER)
    return Process([*command, "--leader-elect=true"], {}, log)


@contextmanager
def running(process: Process) -> Iterator[Process]:
    """Run a process until the end of the block."""
    process.start()
    try:
        yield process
    finally:
        process.stop()
