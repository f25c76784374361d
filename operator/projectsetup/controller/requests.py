"""Requests made by annotation, a cancel and a manual retry: what is told of them."""

from __future__ import annotations

from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import EventReason
from projectsetup.controller.attempt_end import AttemptEnd, EndKind
from projectsetup.controller.decisions import Notice

RETRY_LOST_TO_CANCEL = Notice(EventReason.RETRY_IGNORED, "retry ignored: a cancel was asked for with it")


def coalesced(resource: ProjectSetupResource) -> tuple[Notice, ...]:
    """What is told of a retry while the setup is not over. One that comes with a cancel shares that one's fate."""
    if not resource.retry_is_new or resource.cancel_is_new:
        return ()
    return (Notice(EventReason.RETRY_COALESCED, "retry coalesced: the setup is not over yet"),)


def unheard(resource: ProjectSetupResource, end: AttemptEnd) -> tuple[Notice, ...]:
    """What is told of requests that this end makes pointless."""
    if not resource.cancel_is_new:
        return coalesced(resource)
    retry = (RETRY_LOST_TO_CANCEL,) if resource.retry_is_new else ()
    match end.kind:
        case EndKind.CANCELLED:
            return retry
        case EndKind.SUCCEEDED | EndKind.FAILED:
            text = "cancel ignored: the setup was over before it could be stopped"
            return (Notice(EventReason.CANCEL_IGNORED, text), *retry)
        case EndKind.RETRY | EndKind.RETURNED:
            return ()  # both requests are still to be acted on


def after_the_end(resource: ProjectSetupResource) -> tuple[Notice, ...]:
    """What is told of requests that a setup which is over ignores; nothing of a retry that it grants."""
    if resource.cancel_is_new:
        cancel = Notice(EventReason.CANCEL_IGNORED, "cancel ignored: the setup is already over")
        return (cancel, RETRY_LOST_TO_CANCEL) if resource.retry_is_new else (cancel,)
    if resource.succeeded and resource.retry_is_new:
        return (Notice(EventReason.RETRY_IGNORED, "retry ignored: the setup has succeeded"),)
    return ()
