"""The log that the steps of the recipe `tumult` write themselves, outside of any workspace."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """A step of an attempt has begun, ended, or was asked to stop."""

    project: str
    attempt: int
    pid: int
    what: str
    workspace: str


class StepLog:
    """Each line is added by one write to a file opened for appending, so that none is lost or torn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.gate = Path(f"{path}.go")
        """Once this file is there, steps in the mood `gated` go on."""

    def lines(self) -> list[Line]:
        """All lines, in the order in which they were written."""
        parts = (line.split(" ", 4) for line in self.path.read_text().splitlines())
        return [Line(project, int(attempt), int(pid), what, place) for project, attempt, pid, what, place in parts]

    def tells(self, project: str, what: str, *, times: int = 1) -> bool:
        """Whether steps of this project have told that so often."""
        return sum(line.project == project and line.what == what for line in self.lines()) >= times

    def starts(self) -> dict[str, dict[int, int]]:
        """How often each attempt number of each project was started: every start has a workspace of its own."""
        places: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for line in self.lines():
            places[line.project][line.attempt].add(line.workspace)
        return {
            project: {number: len(found) for number, found in sorted(attempts.items())}
            for project, attempts in places.items()
        }
