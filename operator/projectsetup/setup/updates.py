"""The progress that a setup reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`completed` of `total` steps are done, and `step` is the current one, or was the last.

    `waits_for` says in one line why the setup is blocked. `lingers`: it was stopped, but some of it does not go away.
    """

    project_status: str
    step: str
    completed: int
    total: int
    waits_for: str | None = None
    lingers: bool = False

    def __str__(self) -> str:
        return f"{self.completed}/{self.total}"


ProgressCallback = Callable[[Progress], None]
"""Called in the event loop: it must be quick."""
