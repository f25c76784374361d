"""What a setup tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """Where a setup is: `completed` of `total` steps are done, and `step` is the current one, or was the last.

    `waits_for`: why it does not get on, in one line for people. `lingers`: it was ended some time ago, and what is left
    of it does not go away.
    """

    project_status: str
    step: str
    completed: int
    total: int
    waits_for: str | None = None
    lingers: bool = False


StatusCallback = Callable[[StatusUpdate], None]
"""Called in the event loop: it must be quick."""
