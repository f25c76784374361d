"""Waiting for the end of a setup: progress on standard error, the end on standard output."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from projectsetup.api.durations import format_duration
from projectsetup.api.models import ProjectSetupResource
from projectsetup.cli.cluster import Setups
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.following import Follower, Found
from projectsetup.cli.lines import printable
from projectsetup.cli.output import is_screen, say
from projectsetup.cli.progress import Ended, ended, live_summary, summary


class ProgressLine:
    """The latest progress at standard error: one line that lives on a terminal, a line for each change elsewhere."""

    def __init__(self) -> None:
        self._line: Callable[[], str] = str
        self._last = ""
        self._spinner = Spinner("dots")
        self._live: Live | None = None
        if is_screen(sys.stderr):
            console = Console(stderr=True, highlight=False)
            self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, resource: ProjectSetupResource) -> None:
        """Show where the setup is now."""
        self._tell(summary(resource, datetime.now(UTC)), lambda: live_summary(resource, datetime.now(UTC)))

    def say(self, text: str) -> None:
        """Show why there is nothing to show."""
        self._tell(text, lambda: text)

    def _tell(self, line: str, live: Callable[[], str]) -> None:
        self._line = live
        if line != self._last and not self._live:
            say(printable(line))
        self._last = line

    def _draw(self) -> Spinner:
        """What another thread draws several times a second."""
        self._spinner.update(text=Text(printable(self._line()), no_wrap=True, overflow="ellipsis"))
        return self._spinner


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
            self._progress.show(observed.resource)
        return self._end is not None

    def _tell_outage(self, why: str) -> None:
        self._progress.say(f"waiting for the API server ({why})")
