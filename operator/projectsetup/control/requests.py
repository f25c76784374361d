"""Requests made by annotation, a cancel and a manual retry: whether they are new, and what is told of them."""

from __future__ import annotations

from projectsetup.api.constants import CANCEL_REQUESTED_AT, RETRY_REQUESTED_AT
from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import EventReason
from projectsetup.control.attempt_end import AttemptEnd, EndKind
from projectsetup.control.decisions import Notice

RETRY_LOST_TO_CANCEL = Notice(EventReason.RETRY_IGNORED, "retry ignored: a cancel was asked for with it")


def cancel_is_new(resource: ProjectSetupResource) -> bool:
    """Whether a cancel was asked for and not acted on yet."""
    asked = resource.annotations.get(CANCEL_REQUESTED_AT)
    return bool(asked) and asked != resource.status.last_handled_cancel


def retry_is_new(resource: ProjectSetupResource) -> bool:
    """Whether a retry was asked for and not acted on yet."""
    asked = resource.annotations.get(RETRY_REQUESTED_AT)
    return bool(asked) and asked != resource.status.last_handled_retry


def coalesced(resource: ProjectSetupResource) -> tuple[Notice, ...]:
    """What is told of a retry while the setup is not over. One that comes with a cancel shares that one's fate."""
    if not retry_is_new(resource) or cancel_is_new(resource):
        return ()
    return (Notice(EventReason.RETRY_COALESCED, "retry coalesced: the setup is not over yet"),)


def unheard(resource: ProjectSetupResource, end: AttemptEnd) -> tuple[Notice, ...]:
    """What is told of requests that this end makes pointless."""
    if not cancel_is_new(resource):
        return coalesced(resource)
    retry = (RETRY_LOST_TO_CANCEL,) if retry_is_new(resource) else ()
    match end.kind:
        case EndKind.CANCELLED:
            return retry
        case EndKind.SUCCEEDED | EndKind.FAILED:
            text = "cancel ignored: the setup was over before it could be stopped"
            return (Notice(EventReason.CANCEL_IGNORED, text), *retry)
        case EndKind.RETRY | EndKind.RETURNED:
            return ()  # both requests are still to be acted on


def after_the_end(resource: ProjectSetupResource, *, succeeded: bool) -> tuple[Notice, ...]:
    """What is told of requests that a setup which is over ignores; nothing of a retry that it grants."""
    if cancel_is_new(resource):
        cancel = Notice(EventReason.CANCEL_IGNORED, "cancel ignored: the setup is already over")
        return (cancel, RETRY_LOST_TO_CANCEL) if retry_is_new(resource) else (cancel,)
    if succeeded and retry_is_new(resource):
        return (Notice(EventReason.RETRY_IGNORED, "retry ignored: the setup has succeeded"),)
    return ()
