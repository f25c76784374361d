"""Before a Job is followed: nothing else of its project is alive, and it is made, or certainly never will be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from projectsetup.api.constants import controller_of
from projectsetup.api.durations import format_duration
from projectsetup.api.reasons import Reason
from projectsetup.engines.base import run_prefix
from projectsetup.engines.kubernetes_job.asking import answer, pauses
from projectsetup.engines.kubernetes_job.liveness import Deletions, is_leaving, is_spent, job_has_ended, may_run
from projectsetup.engines.kubernetes_job.manifest import PROJECT, SELECTOR, Manifest, is_tombstone
from projectsetup.engines.kubernetes_job.ref import JobRef, belongs_to, setup_of
from projectsetup.engines.kubernetes_job.removing import LOOK_AGAIN, TELL_EVERY
from projectsetup.setup.errors import InfrastructureError, NotStarted
from projectsetup.setup.message import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projectsetup.engines.base import Adoption, AttemptSpec
    from projectsetup.engines.kubernetes_job.course import Course
    from projectsetup.engines.kubernetes_job.ports import Body, JobBoard, JobCluster

LATEST: Final = 20.0
"""Seconds after which a create that was not answered has been carried out, or never will be."""

_log = logging.getLogger("projectsetup.engine")


@dataclass(frozen=True, slots=True)
class _Left:
    """A Job of which something may still run; `job` is None when it has gone and its pods have not."""

    ref: JobRef
    job: Body | None


async def clear_away(
    cluster: JobCluster,
    board: JobBoard,
    attempt: AttemptSpec | Adoption,
    course: Course,
    *,
    patience: float,
) -> float:
    """Return when no Job of another attempt of this project can do anything any more, and no pod of one may run.

    What is left of earlier attempts of the same ProjectSetup is deleted; what one of the same name has left that was
    deleted goes by itself. Returns the seconds that were waited for it. Raises InfrastructureError when they are more
    than `patience`, or when it may not be looked for.
    """
    time = asyncio.get_running_loop().time
    looks, waited = 0, 0.0
    deletions = Deletions()
    selector = f"{SELECTOR},{PROJECT}={attempt.project_id}"
    while True:
        jobs, pods = await answer(cluster, lambda: cluster.select(attempt.namespace, selector))
        left = _left(attempt, jobs, pods, deletions)
        if not left:
            return waited
        names = ", ".join(sorted(one.ref.name for one in left))
        if waited >= patience:
            allowed = format_duration(timedelta(seconds=patience))
            message = cut(f"what is left of earlier attempts did not end within {allowed}: {names}")
            raise InfrastructureError(Reason.ENGINE_ERROR, message)
        if looks % TELL_EVERY == 0:
            _log.warning("waiting for the end of what is left of earlier attempts: %s", names)
        looks += 1
        with contextlib.ExitStack() as views:
            for ref, job in ((one.ref, one.job) for one in left):
                views.enter_context(board.view(ref.namespace, ref.uid, course.wake))
                if job is not None and belongs_to(job, attempt.uid) and not (is_leaving(job) or job_has_ended(job)):
                    await answer(cluster, partial(ref.delete, cluster))
            began = time()
            await course.wait(min(LOOK_AGAIN, patience - waited))
            waited += time() - began


def _left(
    attempt: AttemptSpec | Adoption, jobs: Sequence[Body], pods: Sequence[Body], deletions: Deletions
) -> list[_Left]:
    """What may still run of Jobs that a ProjectSetup of this name controls or did, except the attempt's own."""
    by_job: dict[str, list[Body]] = defaultdict(list)
    refs: dict[str, JobRef] = {}
    for pod in pods:
        controller = controller_of(pod)
        if controller is not None and str(controller.get("name")).startswith(run_prefix(attempt.project_id)):
            by_job[controller["uid"]].append(pod)
            refs[controller["uid"]] = JobRef(attempt.namespace, controller["name"], controller["uid"])
    known = {JobRef.of(job): job for job in jobs if setup_of(job) == attempt.name}
    orphaned = set(refs.values()) - known.keys()
    left = [_Left(ref, job) for ref, job in known.items() if _may_go_on(job, by_job[ref.uid], deletions)]
    left += [_Left(ref, None) for ref in orphaned if any(map(may_run, by_job[ref.uid]))]
    return [one for one in left if one.ref.name != attempt.run_name]


def _may_go_on(job: Body, pods: Sequence[Body], deletions: Deletions) -> bool:
    if is_leaving(job):
        return not deletions.has_gone(job, pods)
    return any(map(may_run, pods)) or not (is_tombstone(job) or is_spent(job, pods))


async def make(
    cluster: JobCluster, attempt: AttemptSpec | Adoption, manifest: Manifest, stone: Manifest, course: Course
) -> Body | None:
    """The attempt's Job: the one of `manifest`, or what was there before.

    None when the run was stopped before there was any, and then there will be none: a create that is perhaps still
    under way cannot succeed once `stone`, a tombstone of the same name, is there. InfrastructureError when the Job is
    refused, or when somebody else has a Job of that name.
    """
    unanswered = False
    for pause in pauses():
        if course.stopping:
            break
        try:
            return _own(await cluster.create_or_get(attempt.namespace, manifest), attempt)
        except cluster.refused as error:
            arrived = await _arrived(cluster, attempt) if unanswered else None
            if arrived is not None:
                return arrived
            if isinstance(error, cluster.no_room):
                raise NotStarted(f"cannot {error}") from error
            raise InfrastructureError(Reason.ENGINE_ERROR, f"cannot {error}") from error
        except cluster.failed as error:
            unanswered = True
            _log.warning("trying again: %s", error)
        await course.wait(pause)
    return await find(cluster, attempt, stone) if unanswered else None


async def _arrived(cluster: JobCluster, attempt: AttemptSpec | Adoption) -> Body | None:
    """The Job of an unanswered create, when no such create can be under way any more."""
    await asyncio.sleep(LATEST)
    found = await answer(cluster, partial(cluster.get_job, attempt.namespace, attempt.run_name))
    return None if found is None else _own(found, attempt)


async def find(cluster: JobCluster, attempt: AttemptSpec | Adoption, stone: Manifest) -> Body:
    """The attempt's Job, or `stone` of the same name, which is laid there when there is none: then there will be none.

    InfrastructureError when somebody else has a Job of that name.
    """
    found = await answer(cluster, partial(cluster.get_job, attempt.namespace, attempt.run_name))
    if found is None:
        found = await answer(cluster, partial(cluster.create_or_get, attempt.namespace, stone))
    return _own(found, attempt)


def _own(job: Body, attempt: AttemptSpec | Adoption) -> Body:
    """The Job, if the attempt's ProjectSetup controls it: of any other we know nothing, whatever its name is."""
    if belongs_to(job, attempt.uid):
        return job
    message = f"there is a Job {attempt.run_name} already, which does not belong to this ProjectSetup"
    raise InfrastructureError(Reason.ENGINE_ERROR, message)
