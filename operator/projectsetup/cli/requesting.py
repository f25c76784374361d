"""Carrying out `retry` and `cancel`: one annotation each, and a word on what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from projectsetup.api.constants import CANCEL_REQUESTED_AT, RETRY_REQUESTED_AT
from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.api.reasons import Phase
from projectsetup.cli.cluster import Setups
from projectsetup.cli.output import write
from projectsetup.cli.running import cluster, current_namespace
from projectsetup.cli.times import timestamp
from projectsetup.kube.connection import Kubeconfig


async def request_retry(kubeconfig: Kubeconfig, project_id: UUID, namespace: str | None) -> None:
    """The command `retry`."""
    async with cluster(kubeconfig) as setups:
        write(await ask_to_retry(setups, current_namespace(namespace, kubeconfig), str(project_id)))


async def request_cancel(kubeconfig: Kubeconfig, project_id: UUID, namespace: str | None) -> None:
    """The command `cancel`."""
    async with cluster(kubeconfig) as setups:
        write(await ask_to_cancel(setups, current_namespace(namespace, kubeconfig), str(project_id)))


async def ask_to_retry(setups: Setups, namespace: str, name: str) -> str:
    """Ask for a retry of a ProjectSetup; says in one line what comes of it."""
    return await _ask(setups, namespace, name, RETRY_REQUESTED_AT, effect_of_retry)


async def ask_to_cancel(setups: Setups, namespace: str, name: str) -> str:
    """Ask to cancel a ProjectSetup; says in one line what comes of it."""
    return await _ask(setups, namespace, name, CANCEL_REQUESTED_AT, effect_of_cancel)


def effect_of_retry(resource: ProjectSetupResource) -> str:
    """What the operator makes of a retry that is asked for now."""
    if resource.succeeded:
        return "it has succeeded, so the retry is ignored"
    if resource.is_over:
        return "a new series of attempts begins"
    if resource.status.phase is Phase.BACKING_OFF:
        return "the next attempt is due now"
    return "it is not over yet, so the retry changes nothing"


def effect_of_cancel(resource: ProjectSetupResource) -> str:
    """What the operator makes of a cancel that is asked for now."""
    if resource.is_over:
        return "it is over already, so the cancel is ignored"
    if resource.status.phase is Phase.RUNNING:
        return "the running attempt is stopped"
    return "it is cancelled before it starts"


async def _ask(
    setups: Setups, namespace: str, name: str, annotation: str, effect: Callable[[ProjectSetupResource], str]
) -> str:
    body = await setups.annotate(namespace, name, {annotation: timestamp(datetime.now(UTC))})
    return f"ProjectSetup {namespace}/{name}: {effect(parse_resource(body))}"
