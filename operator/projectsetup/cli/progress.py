"""What the state of a ProjectSetup means to who waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from projectsetup.api.durations import lasting
from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import Phase

BAR_WIDTH: Final = 12


@dataclass(frozen=True, slots=True)
class Ended:
    """A setup that is over."""

    succeeded: bool
    message: str


def ended(resource: ProjectSetupResource) -> Ended | None:
    """How the setup ended. None when it is not over, or when a retry was asked for that is not handled yet."""
    condition = resource.condition
    if condition is None or condition.status == "Unknown":
        return None
    if condition.status == "True":
        return Ended(succeeded=True, message=condition.message)
    if resource.retry_is_new:
        return None
    return Ended(succeeded=False, message=f"{condition.reason}: {condition.message}")


def summary(resource: ProjectSetupResource, now: datetime) -> str:
    """Where the setup is, in one line."""
    status = resource.status
    condition = resource.condition
    if condition is None or status.phase is None:
        return "waits for an operator to see it"
    if condition.status == "False" and resource.retry_is_new:
        return f"{status.phase}, waits for an operator to see that a retry was asked for"
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
    """The progress of what runs as a bar, such as `━━━━━━━━──── 4/6`; empty for what does not run."""
    done, _, total = (resource.status.progress or "").partition("/")
    if resource.status.phase is not Phase.RUNNING or not (done.isdecimal() and total.isdecimal() and int(total)):
        return ""
    filled = min(BAR_WIDTH * int(done) // int(total), BAR_WIDTH)
    return f"{'━' * filled}{'─' * (BAR_WIDTH - filled)} {resource.status.progress}"


def live_summary(resource: ProjectSetupResource, now: datetime) -> str:
    """Where the setup is at this moment, in one line: for what runs with a bar, and how long it has been running."""
    started, bar = resource.status.started_at, progress_bar(resource)
    if not bar or started is None:
        return summary(resource, now)
    return f"{bar}  {resource.status.step or ''}, attempt {attempt(resource)}, {lasting(now - started)}"


def attempt(resource: ProjectSetupResource) -> str:
    """Attempts started and their limit, such as `1/3`."""
    status = resource.status
    limit = status.max_attempts or (resource.tuning.max_attempts if resource.tuning else None)
    return f"{status.attempt}/{limit or '?'}"
