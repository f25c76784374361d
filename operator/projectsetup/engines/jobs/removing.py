"""The end of a Job before its time: deleted, and gone with all its pods."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from projectsetup.engines.jobs.liveness import is_leaving, is_spent, job_has_ended, pod_has_ended
from projectsetup.engines.jobs.ports import Body
from projectsetup.setup.outcome import SetupSucceeded

if TYPE_CHECKING:
    from projectsetup.engines.jobs.course import Course
    from projectsetup.engines.jobs.liveness import JobKey
    from projectsetup.engines.jobs.ports import JobCluster, JobView

LOOK_AGAIN: Final = 5.0
"""Seconds after which it is asked again what is alive, should nobody tell of a change."""
TELL_EVERY: Final = 12
"""After so many looks it is told again what is waited for."""

Success = Callable[[Body | None, Sequence[Body]], SetupSucceeded | None]
"""What a Job and its pods came to, if they tell of a success."""

_log = logging.getLogger("projectsetup.engine")


async def remove(
    cluster: JobCluster, view: JobView, key: JobKey, course: Course, *, success: Success
) -> SetupSucceeded | None:
    """Return when nothing of the Job is alive or will be: what it came to all the same, if its pod had succeeded.

    A Job of which nothing is alive is left as it is, so that people can still look at it; one that is deleted is gone.
    """
    looks = 0
    while True:
        told = success(view.last_job, [*view.pods, *view.departed_pods])
        if told is not None:
            return told
        try:
            job = await cluster.get_job(*key)
            pods = await cluster.pods_of(*key)
            found = success(job or view.last_job, pods)
            if found is not None or _nothing_alive(job, pods):
                return found
            if job is not None and not (is_leaving(job) or job_has_ended(job)):
                await cluster.delete_job(*key, job["metadata"]["uid"])
        except cluster.failed as error:
            _log.warning("trying again: %s", error)
        if looks and looks % TELL_EVERY == 0:
            _log.warning("still waiting for Job %s/%s to be gone with its pods", *key)
        looks += 1
        await course.wait(LOOK_AGAIN)


def _nothing_alive(job: Body | None, pods: Sequence[Body]) -> bool:
    if job is None:
        return all(map(pod_has_ended, pods))
    return not is_leaving(job) and is_spent(job, pods)
