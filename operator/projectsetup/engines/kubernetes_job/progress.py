"""What is told of a run's progress: only steps that last."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from projectsetup.setup.updates import Progress, ProgressCallback

QUIET: Final = 0.5
"""Seconds that a step lasts at least before it is told of, so that a quick recipe leaves nothing to write."""
LONGEST_SILENCE: Final = 2.0
"""Seconds after which something is told all the same, when one quick step follows another."""


class ProgressReporter:
    """Hands on where a run is, a little later, unless that was `reported` already."""

    def __init__(self, report: ProgressCallback, reported: Progress | None) -> None:
        self._report = report
        self._reported = reported
        self._latest = reported
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def reached(self, update: Progress) -> None:
        """The run is at this step now."""
        self._settle_on(update)

    def waits(self, why: str | None) -> None:
        """The run does not get on, for this reason if one is known; None: nothing is in its way."""
        if self._latest is not None:
            self._settle_on(replace(self._latest, waits_for=why))

    def lingers(self, why: str) -> None:
        """The run was ended, and something of it does not go away."""
        if self._latest is not None:
            self._settle_on(replace(self._latest, waits_for=why, lingers=True))

    def _settle_on(self, update: Progress) -> None:
        if update == self._latest:
            return
        self._latest = update
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._due = loop.time() + LONGEST_SILENCE
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(loop.time() + QUIET, self._due), self._settled)

    def ended_at(self, update: Progress) -> None:
        """The run failed at this step, which is told at once, however short it was."""
        self.close()
        self._latest = update
        self._settled()

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _settled(self) -> None:
        self._timer = None
        if self._latest is not None and self._latest != self._reported:
            self._reported = self._latest
            self._report(self._latest)
