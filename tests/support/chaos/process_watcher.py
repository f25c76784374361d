"""The processes of attempts on this machine, read from /proc and not from the operator's own records."""

from __future__ import annotations

import re
import threading
from collections.abc import Container
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from projectsetup.engines.kubernetes_job.pod import ROOT
from tests.support.processes import all_pids

_VARIABLES: Final = {b"PROJECT_ID": "project", b"ATTEMPT": "attempt", b"WORKSPACE": "workspace"}
_POD: Final = re.compile(r"/pod([0-9a-f-]{36})/")


@dataclass(frozen=True, slots=True)
class AttemptProcess:
    """A process of an attempt."""

    pid: int
    project: str
    attempt: str
    workspace: str


_SETTLED: Final = 40
"""Scans after which a process that belongs to no attempt is not read again: a step gets its environment at once."""


@dataclass(slots=True)
class ProcessWatcher:
    """Scans /proc every `period` seconds for attempts whose workspace is below `root`, and records overlaps."""

    root: Path
    period: float = 0.05
    scans: int = 0
    _overlaps: list[tuple[AttemptProcess, AttemptProcess]] = field(default_factory=list)
    _others: dict[int, int] = field(default_factory=dict)
    """How often each process was found to belong to no attempt."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, name="process watcher", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def overlaps(self, projects: Container[str]) -> list[tuple[AttemptProcess, AttemptProcess]]:
        """Return pairs of processes of two attempts of one of these projects that were alive at the same instant."""
        return [pair for pair in self._overlaps if pair[0].project in projects]

    def living(self, projects: Container[str]) -> list[AttemptProcess]:
        """Return the live processes of these projects."""
        found = (self._read(pid) for pid in all_pids())
        return [process for process in found if process is not None and process.project in projects]

    def _watch(self) -> None:
        while not self._stop.wait(self.period):
            self._scan()

    def _scan(self) -> None:
        self.scans += 1
        first: dict[str, AttemptProcess] = {}
        self._others = {pid: self._others.get(pid, 0) for pid in all_pids()}
        for pid, scans in self._others.items():
            process = self._read(pid) if scans < _SETTLED else None
            if process is None:
                self._others[pid] += 1
                continue
            earlier = first.setdefault(process.project, process)
            # The earlier process was read first; if it is still alive, both were alive when the later one was read.
            if earlier.workspace != process.workspace and self._read(earlier.pid) == earlier:
                self._overlaps.append((earlier, process))

    def _read(self, pid: int) -> AttemptProcess | None:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return None
        pairs = (variable.partition(b"=") for variable in variables)
        found = {_VARIABLES[name]: value.decode() for name, _, value in pairs if name in _VARIABLES}
        if len(found) < len(_VARIABLES) or not found["workspace"].startswith(f"{self.root}/"):
            return None
        return AttemptProcess(pid, **found)


@dataclass(slots=True)
class PodWatcher(ProcessWatcher):
    """Watches processes in pods on this machine. All workspaces have one path there, so the pod's UID replaces it."""

    root: Path = Path(str(ROOT))
    period: float = 0.2

    def _read(self, pid: int) -> AttemptProcess | None:
        process = ProcessWatcher._read(self, pid)
        if process is None:
            return None
        try:
            found = _POD.search(Path(f"/proc/{pid}/cgroup").read_text())
        except OSError:
            return None
        return replace(process, workspace=found[1]) if found else None
