"""The processes on this machine that belong to attempts, from /proc and not from the operator."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

PERIOD: Final = 0.05
_SEARCHED: Final = {b"PROJECT_ID": "project", b"ATTEMPT": "attempt", b"WORKSPACE": "workspace"}


@dataclass(frozen=True, slots=True)
class Sight:
    """A process of an attempt."""

    pid: int
    project: str
    attempt: str
    workspace: str


@dataclass(slots=True)
class Watcher:
    """Looks at all processes again and again, and remembers the attempts whose workspace is below `root`."""

    root: Path
    period: float = PERIOD
    looks: int = 0
    _overlaps: list[tuple[Sight, Sight]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def overlaps(self, projects: Container[str]) -> list[tuple[Sight, Sight]]:
        """Pairs of processes of two attempts of one of these projects that were alive at the same instant."""
        return [pair for pair in self._overlaps if pair[0].project in projects]

    def living(self, projects: Container[str]) -> list[Sight]:
        """The processes of attempts of these projects that are alive now."""
        return [sight for sight in self._living() if sight.project in projects]

    def _watch(self) -> None:
        while not self._stop.wait(self.period):
            self._look()

    def _look(self) -> None:
        self.looks += 1
        first: dict[str, Sight] = {}
        for sight in self._living():
            earlier = first.setdefault(sight.project, sight)
            # The earlier one was alive before and, if it still is, also when the later one was seen.
            if earlier.workspace != sight.workspace and self._sight(earlier.pid) == earlier:
                self._overlaps.append((earlier, sight))

    def _living(self) -> Iterator[Sight]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and (sight := self._sight(int(entry.name))) is not None:
                yield sight

    def _sight(self, pid: int) -> Sight | None:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return None
        pairs = (variable.partition(b"=") for variable in variables)
        found = {_SEARCHED[name]: value.decode() for name, _, value in pairs if name in _SEARCHED}
        if len(found) < len(_SEARCHED) or not found["workspace"].startswith(f"{self.root}/"):
            return None
        return Sight(pid, **found)
