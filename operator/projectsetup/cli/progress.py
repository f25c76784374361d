"""Where a setup is, in one line, and waiting for its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from projectsetup.api.durations import format_duration, lasting
from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.api.reasons import Phase
from projectsetup.cli.context import follow
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.output import is_terminal, printable, say
from projectsetup.kube.informer import ObjectKey
from projectsetup.kube.setups import SetupClient

BAR_WIDTH: Final = 12


@dataclass(frozen=True, slots=True)
class Ended:
    """How a setup ended."""

    succeeded: bool
    message: str


def ended(resource: ProjectSetupResource) -> Ended | None:
    """How the setup ended; None if it has not, or if a retry was requested that the operator has not handled yet."""
    condition = resource.condition
    if condition is None or not resource.is_over:
        return None
    if resource.succeeded:
        return Ended(succeeded=True, message=condition.message)
    if resource.retry_is_new:
        return None
    return Ended(succeeded=False, message=f"{condition.reason}: {condition.message}")


def summary(resource: ProjectSetupResource, now: datetime) -> str:
    """Where the setup is, in one line."""
    status = resource.status
    condition = resource.condition
    if condition is None or status.phase is None:
        return "waiting for the operator"
    if condition.status == "False" and resource.retry_is_new:
        return f"{status.phase}, retry requested, waiting for the operator"
    words = [str(status.phase)]
    if status.phase is Phase.RUNNING:
        words += [status.project_status or "", status.step or "", status.progress or ""]
    if status.attempt:
        words.append(f"attempt {attempt(resource)}")
    if status.phase is Phase.BACKING_OFF and status.next_attempt_at is not None:
        words.append(f"next in {lasting(status.next_attempt_at - now)}")
    line = ", ".join(word for word in words if word)
    return line if status.phase is Phase.RUNNING or not condition.message else f"{line}: {condition.message}"


def progress_bar(resource: ProjectSetupResource) -> str:
    """The progress of a running setup as a bar, such as `━━━━━━━━──── 4/6`; empty for other phases."""
    done, _, total = (resource.status.progress or "").partition("/")
    if resource.status.phase is not Phase.RUNNING or not (done.isdecimal() and total.isdecimal() and int(total)):
        return ""
    filled = min(BAR_WIDTH * int(done) // int(total), BAR_WIDTH)
    return f"{'━' * filled}{'─' * (BAR_WIDTH - filled)} {resource.status.progress}"


def live_summary(resource: ProjectSetupResource, now: datetime) -> str:
    """`summary`, but a running setup has a bar and the time it has been running."""
    started, bar = resource.status.started_at, progress_bar(resource)
    if not bar or started is None:
        return summary(resource, now)
    return f"{bar}  {resource.status.step or ''}, attempt {attempt(resource)}, {lasting(now - started)}"


def attempt(resource: ProjectSetupResource) -> str:
    """Attempts started and their limit, such as `1/3`."""
    status = resource.status
    limit = status.max_attempts or (resource.tuning.max_attempts if resource.tuning else None)
    return f"{status.attempt}/{limit or '?'}"


class ProgressLine:
    """The latest progress on standard error: one live line on a terminal, elsewhere a line for each change."""

    def __init__(self) -> None:
        self._draw_line: Callable[[], str] = str
        self._last = ""
        self._spinner = Spinner("dots")
        self._live: Live | None = None
        if is_terminal(sys.stderr):
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
        self._show(summary(resource, datetime.now(UTC)), lambda: live_summary(resource, datetime.now(UTC)))

    def show_outage(self, reason: str) -> None:
        """Show why there is no progress to show."""
        text = f"waiting for the API server ({reason})"
        self._show(text, lambda: text)

    def _show(self, line: str, draw_line: Callable[[], str]) -> None:
        self._draw_line = draw_line
        if line != self._last and not self._live:
            say(printable(line))
        self._last = line

    def _draw(self) -> Spinner:
        """Called by rich's thread, several times a second."""
        self._spinner.update(text=Text(printable(self._draw_line()), no_wrap=True, overflow="ellipsis"))
        return self._spinner


async def wait_for_end(
    setups: SetupClient, key: ObjectKey, uid: str, progress: ProgressLine, limit: timedelta | None
) -> Ended:
    """Wait until the ProjectSetup with this uid has ended; CommandError if it is deleted or the limit is reached."""
    end: Ended | None = None

    def on_change(found: Mapping[ObjectKey, ProjectSetupResource], _changes: object) -> bool:
        nonlocal end
        resource = found.get(key)
        if resource is None or resource.uid != uid:
            return True
        end = ended(resource)
        if end is None:
            progress.show(resource)
        return end is not None

    try:
        async with asyncio.timeout(limit.total_seconds() if limit else None):
            await follow(setups, *key, keep=parse_resource, on_change=on_change, on_outage=progress.show_outage)
    except TimeoutError as exc:
        waited = f" after {format_duration(limit)}" if limit else ""
        raise CommandError(f"timed out{waited}; the setup is still running", ExitCode.FAILED) from exc
    if end is None:
        raise CommandError("ProjectSetup {}/{} was deleted before the setup ended".format(*key), ExitCode.FAILED)
    return end
