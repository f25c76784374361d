"""Waiting for the end of a setup: progress on standard error, the end on standard output."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Self

from rich.console import Console
from rich.text import Text

from projectsetup.api.durations import format_duration
from projectsetup.cli.cluster import Setups
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.following import Follower, Found
from projectsetup.cli.lines import printable
from projectsetup.cli.output import say
from projectsetup.cli.progress import Ended, ended, summary


class ProgressLine:
    """The latest progress at standard error: one line that changes on a terminal, a line for each change elsewhere."""

    def __init__(self) -> None:
        self._status = Console(stderr=True).status("") if sys.stderr.isatty() else None
        self._last = ""

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def show(self, line: str) -> None:
        """Show where the setup is now."""
        if line != self._last:
            self._last = line
            if self._status:
                self._status.update(Text(printable(line), no_wrap=True, overflow="ellipsis"))
            else:
                say(printable(line))


class Waiter:
    """Waits for the end of the ProjectSetup that has this uid."""

    def __init__(self, namespace: str, name: str, uid: str, progress: ProgressLine) -> None:
        self._namespace = namespace
        self._name = name
        self._uid = uid
        self._progress = progress
        self._end: Ended | None = None

    async def wait(self, setups: Setups, limit: timedelta | None) -> Ended:
        """How the setup ended; CommandError when it was deleted, or is not over within the limit."""
        follower = Follower(setups, self._namespace, self._name, on_outage=self._tell_outage)
        try:
            async with asyncio.timeout(limit.total_seconds() if limit else None):
                await follower.run(self._look)
        except TimeoutError as exc:
            waited = format_duration(limit) if limit else "some time"
            raise CommandError(f"the setup is not over after {waited}; it goes on", ExitCode.FAILED) from exc
        if self._end is None:
            raise CommandError(
                f"ProjectSetup {self._namespace}/{self._name} was deleted before it was over", ExitCode.FAILED
            )
        return self._end

    def _look(self, found: Found) -> bool:
        observed = found.get((self._namespace, self._name))
        if observed is None or observed.resource.uid != self._uid:
            return True
        self._end = ended(observed.resource)
        if self._end is None:
            self._progress.show(summary(observed.resource, datetime.now(UTC)))
        return self._end is not None

    def _tell_outage(self, why: str) -> None:
        self._progress.show(f"waiting for the API server ({why})")
