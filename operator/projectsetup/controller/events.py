"""The events that decisions leave on a ProjectSetup: how attempts end, and what becomes of cancels and retries."""

from __future__ import annotations

from dataclasses import dataclass

from projectsetup.api.models import ProjectSetupResource, ProjectSetupStatus
from projectsetup.api.reasons import EventReason
from projectsetup.controller.outcome import AttemptEnd, EndKind


@dataclass(frozen=True, slots=True)
class Event:
    """An event to post on the resource."""

    reason: EventReason
    message: str
    warning: bool = False


RETRY_LOST_TO_CANCEL = Event(EventReason.RETRY_IGNORED, "retry ignored: a cancel was requested at the same time")


def started(status: ProjectSetupStatus) -> Event:
    """The event of the attempt that `status` reports."""
    return Event(EventReason.STARTED, f"attempt {status.attempt} of {status.max_attempts or 1} started")


def events_of_end(resource: ProjectSetupResource, end: AttemptEnd) -> tuple[Event, ...]:
    """The events of this end, and of the requests that it makes pointless."""
    return (*_of_end(end), *_of_overtaken_requests(resource, end))


def retry_coalesced(resource: ProjectSetupResource) -> tuple[Event, ...]:
    """The event of a new retry request while the setup is in progress; none if a cancel came with it."""
    if not resource.retry_is_new or resource.cancel_is_new:
        return ()
    return (Event(EventReason.RETRY_COALESCED, "retry coalesced: the setup is still in progress"),)


def requests_ignored(resource: ProjectSetupResource) -> tuple[Event, ...]:
    """The events of requests that a setup ignores because it has ended; none for a retry that it accepts."""
    if resource.cancel_is_new:
        cancel = Event(EventReason.CANCEL_IGNORED, "cancel ignored: the setup has already ended")
        return (cancel, RETRY_LOST_TO_CANCEL) if resource.retry_is_new else (cancel,)
    if resource.succeeded and resource.retry_is_new:
        return (Event(EventReason.RETRY_IGNORED, "retry ignored: the setup has succeeded"),)
    return ()


def _of_end(end: AttemptEnd) -> tuple[Event, ...]:
    match end.kind:
        case EndKind.SUCCEEDED:
            return (Event(EventReason.SUCCEEDED, end.message),)
        case EndKind.FAILED:
            return (Event(EventReason.FAILED, f"{end.reason}: {end.message}", warning=True),)
        case EndKind.CANCELLED:
            return (Event(EventReason.CANCELLED, end.message),)
        case EndKind.RETRY:
            return (Event(EventReason.RETRY_SCHEDULED, end.message, warning=True),)
        case EndKind.RELEASED:
            return ()


def _of_overtaken_requests(resource: ProjectSetupResource, end: AttemptEnd) -> tuple[Event, ...]:
    if not resource.cancel_is_new:
        return retry_coalesced(resource)
    retry = (RETRY_LOST_TO_CANCEL,) if resource.retry_is_new else ()
    match end.kind:
        case EndKind.CANCELLED:
            return retry
        case EndKind.SUCCEEDED | EndKind.FAILED:
            text = "cancel ignored: the setup ended before it could be stopped"
            return (Event(EventReason.CANCEL_IGNORED, text), *retry)
        case EndKind.RETRY | EndKind.RELEASED:
            return ()  # both requests are still to be handled
