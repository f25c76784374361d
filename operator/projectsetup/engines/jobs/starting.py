"""Before a Job is followed: nothing else of its project is alive, and it is made, or certainly never will be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

from projectsetup.engines.jobs.asking import answer, pauses
from projectsetup.engines.jobs.liveness import is_leaving, is_spent, job_has_ended, job_of, key_of, pod_has_ended
from projectsetup.engines.jobs.manifest import PROJECT, SELECTOR, Manifest, is_tombstone
from projectsetup.engines.jobs.removing import LOOK_AGAIN, TELL_EVERY
from projectsetup.setup.errors import FailureReason, InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from projectsetup.engines.jobs.course import Course
    from projectsetup.engines.jobs.liveness import JobKey
    from projectsetup.engines.jobs.ports import Body, JobBoard, JobCluster

LATEST: Final = 20.0
"""Seconds after which a create that was not answered has been carried out, or never will be."""

_log = logging.getLogger("projectsetup.engine")


async def clear_away(cluster: JobCluster, board: JobBoard, project_id: UUID, course: Course, *, own: JobKey) -> None:
    """Return when no other Job than `own` can still do anything for the project, and no pod of one is alive.

    What is left of earlier attempts is deleted. Raises InfrastructureError when that may not be looked for.
    """
    looks = 0
    while True:
        jobs, pods = await answer(cluster, lambda: cluster.select(f"{SELECTOR},{PROJECT}={project_id}"))
        unfinished = _alive(jobs, pods, own)
        if not unfinished:
            return
        if looks % TELL_EVERY == 0:
            names = ", ".join(f"{namespace}/{name}" for namespace, name in sorted(unfinished))
            _log.warning("waiting for the end of what is left of earlier attempts: %s", names)
        looks += 1
        with contextlib.ExitStack() as views:
            for key, job in unfinished.items():
                views.enter_context(board.view(*key, course.wake))
                if job is not None and not (is_leaving(job) or job_has_ended(job)):
                    await answer(cluster, partial(cluster.delete_job, *key, job["metadata"]["uid"]))
            await course.wait(LOOK_AGAIN)


async def make(cluster: JobCluster, namespace: str, manifest: Manifest, stone: Manifest, course: Course) -> Body | None:
    """The Job of that name: the one of `manifest`, or what was there before.

    None when the run was stopped before there was any, and then there will be none: a create that is perhaps still
    under way cannot succeed once `stone`, a tombstone of the same name, is there. InfrastructureError when the Job is
    refused.
    """
    unanswered = False
    for pause in pauses():
        if course.stopping:
            break
        try:
            return await cluster.create_or_get(namespace, manifest)
        except cluster.refused as error:
            arrived = await _arrived(cluster, namespace, manifest["metadata"]["name"]) if unanswered else None
            if arrived is not None:
                return arrived
            raise InfrastructureError(FailureReason.ENGINE_ERROR, f"cannot {error}") from error
        except cluster.failed as error:
            unanswered = True
            _log.warning("trying again: %s", error)
        await course.wait(pause)
    return await answer(cluster, partial(cluster.create_or_get, namespace, stone)) if unanswered else None


async def _arrived(cluster: JobCluster, namespace: str, name: str) -> Body | None:
    """The Job of an unanswered create, when no such create can be under way any more."""
    await asyncio.sleep(LATEST)
    return await answer(cluster, partial(cluster.get_job, namespace, name))


async def find(cluster: JobCluster, namespace: str, stone: Manifest) -> Body:
    """The Job that has the name of `stone`, which is laid there when there is none: then there will be none."""
    found = await answer(cluster, partial(cluster.get_job, namespace, stone["metadata"]["name"]))
    return found if found is not None else await answer(cluster, partial(cluster.create_or_get, namespace, stone))


def _alive(jobs: Sequence[Body], pods: Sequence[Body], own: JobKey) -> dict[JobKey, Body | None]:
    pods_by_job: dict[JobKey, list[Body]] = defaultdict(list)
    for pod in pods:
        pods_by_job[job_of(pod) or key_of(pod)].append(pod)
    alive: dict[JobKey, Body | None] = {
        key: None for key, of_job in pods_by_job.items() if not all(map(pod_has_ended, of_job))
    }
    for job in jobs:
        key = key_of(job)
        if key in alive or not (is_tombstone(job) or is_spent(job, pods_by_job[key])):
            alive[key] = job
    alive.pop(own, None)
    return alive
