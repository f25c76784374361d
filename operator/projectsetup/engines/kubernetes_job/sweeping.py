"""Ends the Jobs that nobody follows, and clears away tombstones that are no longer needed."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from projectsetup.api.reasons import Reason
from projectsetup.engines.kubernetes_job.liveness import is_leaving, is_spent
from projectsetup.engines.kubernetes_job.manifest import is_tombstone
from projectsetup.engines.kubernetes_job.ref import JobRef, belongs_to, setup_of
from projectsetup.setup.errors import InfrastructureError

if TYPE_CHECKING:
    from projectsetup.engines.base import CurrentRun, FindRun
    from projectsetup.engines.kubernetes_job.ports import Body, JobBoard, JobCluster

TOMBSTONE_STAYS: Final = timedelta(minutes=5)
"""By then no create can be under way any more that was sent before the tombstone was laid."""

_log = logging.getLogger("projectsetup.engine")


async def sweep(cluster: JobCluster, board: JobBoard, find_run: FindRun, now: datetime) -> None:
    """Delete what may still run and is not wanted; see `JobEngine.sweep`.

    A Job is ours to delete when a ProjectSetup that is there controls it; of one that is gone, the cluster does.
    """
    if not board.complete:
        raise InfrastructureError(Reason.ENGINE_ERROR, "it is not known yet which Jobs there are")
    listed = [job for job, pods in board.snapshot() if not (is_leaving(job) or is_spent(job, pods))]
    for job in listed:
        ref, setup = JobRef.of(job), setup_of(job)
        told = None if setup is None else find_run(ref.namespace, setup)
        if told is None or not belongs_to(job, told.uid) or _may_stay(job, told, now):
            continue
        try:
            await ref.delete(cluster)
        except cluster.failed as error:
            raise InfrastructureError(Reason.ENGINE_ERROR, f"cannot {error}") from error
        _log.warning("deleted Job %s, which nobody follows", ref, extra={"namespace": ref.namespace, "project": setup})


def _may_stay(job: Body, told: CurrentRun, now: datetime) -> bool:
    if not is_tombstone(job):
        return JobRef.of(job).name == told.run_name
    created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    return not told.is_over or now - created < TOMBSTONE_STAYS
