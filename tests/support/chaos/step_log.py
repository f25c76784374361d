"""The log that steps of the recipe `fault-test` write themselves, outside of any workspace."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """An event of a step: `begin`, `end`, or `stopping` when it received SIGTERM."""

    project: str
    attempt: int
    pid: int
    event: str
    workspace: str


class StepLog:
    """Each line is one write to a file opened for appending, so none is lost or torn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.gate = Path(f"{path}.go")
        """Gated steps wait for this file."""

    def lines(self) -> list[Line]:
        """Return all lines in the order of writing."""
        parts = (line.split(" ", 4) for line in self.path.read_text().splitlines())
        return [Line(project, int(attempt), int(pid), event, place) for project, attempt, pid, event, place in parts]

    def has(self, project: str, event: str, *, times: int = 1) -> bool:
        """Return whether steps of this project logged the event at least so many times."""
        return sum(line.project == project and line.event == event for line in self.lines()) >= times

    def starts(self) -> dict[str, dict[int, int]]:
        """Return how often each attempt number of each project started; every start has its own workspace."""
        places: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for line in self.lines():
            places[line.project][line.attempt].add(line.workspace)
        return {
            project: {number: len(found) for number, found in sorted(attempts.items())}
            for project, attempts in places.items()
        }
