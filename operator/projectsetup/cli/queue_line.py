"""Who runs, who waits and who is next: the queue, as it follows from the ProjectSetups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import Phase
from projectsetup.cli.progress import ended


@dataclass(frozen=True, slots=True)
class Line:
    """The setups that are not over, by what they do."""

    running: Sequence[ProjectSetupResource]
    """Those that hold a slot, longest first."""
    waiting: Sequence[ProjectSetupResource]
    """Those that wait for a slot, in the order in which they start."""
    backing_off: Sequence[ProjectSetupResource]
    """Those that wait for their next attempt, the next one first."""
    suspended: int

    def by_priority(self) -> list[tuple[int, list[ProjectSetupResource]]]:
        """Those that wait, by priority."""
        return [(priority, list(found)) for priority, found in groupby(self.waiting, key=attrgetter("priority"))]


def line_up(resources: Iterable[ProjectSetupResource]) -> Line:
    """Sort the setups into the line as the operator does: by (priority, `queuedAt`, namespace/name)."""
    ongoing = [resource for resource in resources if ended(resource) is None and not resource.deleting]
    found = {phase: [r for r in ongoing if r.status.phase is phase] for phase in Phase}
    unseen = [resource for resource in ongoing if resource.status.phase is None]
    return Line(
        running=sorted(found[Phase.RUNNING], key=lambda r: (r.status.started_at or r.created_at, r.key)),
        waiting=sorted(found[Phase.QUEUED] + unseen, key=attrgetter("rank")),
        backing_off=sorted(found[Phase.BACKING_OFF], key=lambda r: (r.status.next_attempt_at or r.created_at, r.key)),
        suspended=len(found[Phase.SUSPENDED]),
    )
