"""Ends the Jobs that nobody follows, and clears away tombstones that are no longer needed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from projectsetup.engines.jobs.liveness import is_leaving, is_spent, key_of
from projectsetup.engines.jobs.manifest import PROJECT, is_tombstone
from projectsetup.setup.errors import FailureReason, InfrastructureError

if TYPE_CHECKING:
    from projectsetup.engines.contract import Wanted
    from projectsetup.engines.jobs.ports import Body, JobBoard, JobCluster

TOMBSTONE_STAYS: Final = timedelta(minutes=5)
"""By then no create can be under way any more that was sent before the tombstone was laid."""

_log = logging.getLogger("projectsetup.engine")


async def sweep(cluster: JobCluster, board: JobBoard, look: Callable[[], Wanted], now: datetime) -> None:
    """Delete what may still run and is not wanted; see `JobEngine.sweep`."""
    if not board.complete:
        raise InfrastructureError(FailureReason.ENGINE_ERROR, "it is not known yet which Jobs there are")
    listed = [job for job, pods in board.snapshot() if not (is_leaving(job) or is_spent(job, pods))]
    wanted = look()
    for job in listed:
        if _may_stay(job, wanted, now):
            continue
        namespace, name = key_of(job)
        try:
            await cluster.delete_job(namespace, name, job["metadata"]["uid"])
        except cluster.failed as error:
            raise InfrastructureError(FailureReason.ENGINE_ERROR, f"cannot {error}") from error
        about = {"namespace": namespace, "project": str(_project_of(job))}
        _log.warning("deleted Job %s/%s, which nobody follows", namespace, name, extra=about)


def _may_stay(job: Body, wanted: Wanted, now: datetime) -> bool:
    if not is_tombstone(job):
        return key_of(job)[1] in wanted.runs
    created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    return _project_of(job) in wanted.unfinished or now - created < TOMBSTONE_STAYS


def _project_of(job: Body) -> UUID | None:
    try:
        return UUID(job["metadata"]["labels"][PROJECT])
    except (KeyError, ValueError):
        return None
