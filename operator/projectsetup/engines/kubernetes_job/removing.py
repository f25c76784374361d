"""The end of a Job before its time: deleted, and gone with all its pods."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from projectsetup.engines.kubernetes_job.liveness import Deletions, is_leaving, is_spent, job_has_ended, may_run
from projectsetup.engines.kubernetes_job.ports import Body
from projectsetup.setup.message import cut
from projectsetup.setup.outcome import SetupSucceeded

if TYPE_CHECKING:
    from projectsetup.engines.kubernetes_job.course import Course
    from projectsetup.engines.kubernetes_job.ports import JobCluster, JobView
    from projectsetup.engines.kubernetes_job.ref import JobRef

LOOK_AGAIN: Final = 5.0
"""Seconds after which it is asked again what is alive, should nobody tell of a change."""
ENDS_ITSELF: Final = 6
"""So many looks a Job that has ended has to end its pods, as it does; then it is deleted with them."""
TELL_EVERY: Final = 12
"""After so many looks it is told again what is waited for."""
LINGERS: Final = 60.0
"""Seconds after which what does not go away is told to linger."""

Success = Callable[[Body | None, Sequence[Body]], SetupSucceeded | None]
"""What a Job and its pods came to, if they tell of a success."""


def nothing_known(_job: Body | None, _pods: Sequence[Body]) -> None:
    """For a Job whose outcome is not asked for."""


_log = logging.getLogger("projectsetup.engine")


async def remove(
    cluster: JobCluster,
    view: JobView,
    ref: JobRef,
    course: Course,
    *,
    success: Success,
    on_lingering: Callable[[str], None],
) -> SetupSucceeded | None:
    """Return when nothing of the Job is alive or will be: what it came to all the same, if its pod had succeeded.

    This can take as long as it takes, on a node that does not answer for one; `on_lingering` is called then.
    A Job of which nothing is alive is left as it is, so that people can still look at it; one that is deleted is gone.
    """
    looks = 0
    deletions = Deletions()
    time = asyncio.get_running_loop().time
    began = time()
    while True:
        told = success(view.last_job, [*view.pods, *view.departed_pods])
        if told is not None:
            return told
        try:
            job, pods = await ref.read(cluster)
            if time() - began >= LINGERS:
                left = ", ".join(pod["metadata"]["name"] for pod in pods if may_run(pod)) or ref.name
                on_lingering(cut(f"was ended, and still waits for the end of {left}"))
            found = success(job or view.last_job, pods)
            if found is not None or _nothing_alive(job, pods, deletions):
                return found
            if job is not None and not (is_leaving(job) or (job_has_ended(job) and looks < ENDS_ITSELF)):
                await ref.delete(cluster)
        except cluster.failed as error:
            _log.warning("trying again: %s", error)
        if looks and looks % TELL_EVERY == 0:
            _log.warning("still waiting for Job %s to be gone with its pods", ref)
        looks += 1
        await course.wait(LOOK_AGAIN)


def _nothing_alive(job: Body | None, pods: Sequence[Body], deletions: Deletions) -> bool:
    if job is None:
        return not any(map(may_run, pods))
    return deletions.has_gone(job, pods) if is_leaving(job) else is_spent(job, pods)
