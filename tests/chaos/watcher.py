"""What runs on this machine, seen from /proc and not from the operator's own books."""

from __future__ import annotations

import threading
import time
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
    """Looks at all processes again and again, and remembers the attempts whose workspace is below one of `roots`."""

    roots: tuple[Path, ...]
    looks: int = 0
    overlaps: list[tuple[Sight, Sight]] = field(default_factory=list)
    """Pairs of processes of two attempts of one project that were alive at the same instant."""
    attempts: dict[str, set[str]] = field(default_factory=dict)
    """The workspaces in which processes of each project were seen."""
    longest_gap: float = 0.0
    """Seconds between two looks, at most."""
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

    def living(self) -> list[Sight]:
        """The processes of attempts that are alive now."""
        entries = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        return [sight for pid in entries if (sight := self._sight(pid)) is not None]

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(PERIOD):
            self._look()
            now = time.monotonic()
            self.longest_gap, last = max(self.longest_gap, now - last), now

    def _look(self) -> None:
        self.looks += 1
        first: dict[str, Sight] = {}
        for sight in self.living():
            self.attempts.setdefault(sight.project, set()).add(sight.workspace)
            earlier = first.setdefault(sight.project, sight)
            # The earlier one was alive before and, if it still is, also when the later one was seen.
            if earlier.workspace != sight.workspace and self._sight(earlier.pid) == earlier:
                self.overlaps.append((earlier, sight))

    def _sight(self, pid: int) -> Sight | None:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return None
        pairs = (variable.partition(b"=") for variable in variables)
        found = {_SEARCHED[name]: value.decode() for name, _, value in pairs if name in _SEARCHED}
        if len(found) < len(_SEARCHED) or not any(found["workspace"].startswith(f"{root}/") for root in self.roots):
            return None
        return Sight(pid, **found)
