"""What an engine tells of its steps, as the progress of an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from projectsetup.controller.facts import Progress
from projectsetup.setup.updates import StatusCallback, StatusUpdate


def telling(on_progress: Callable[[Progress], None]) -> StatusCallback:
    """Calls `on_progress` when a step begins. That the last one is done is told with the end of the attempt."""

    def moved(update: StatusUpdate) -> None:
        if update.completed < update.total:
            on_progress(Progress(**asdict(update)))

    return moved
