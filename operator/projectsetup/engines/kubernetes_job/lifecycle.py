"""Creates the Job of an attempt, deletes it, and deletes the Jobs that nobody monitors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from projectsetup.api.constants import controller_of
from projectsetup.api.durations import format_duration
from projectsetup.api.reasons import Reason
from projectsetup.engines.base import run_prefix
from projectsetup.engines.kubernetes_job.client import Body, retry_delays, until_answered
from projectsetup.engines.kubernetes_job.manifest import PROJECT, SELECTOR, Manifest, is_tombstone, tombstone
from projectsetup.engines.kubernetes_job.objects import (
    JobRef,
    is_being_deleted,
    is_finished,
    is_owned_by,
    job_has_ended,
    may_run,
    owner_name,
)
from projectsetup.setup.outcome import cut
from projectsetup.setup.types import InfrastructureError, NotStarted, SetupSucceeded

if TYPE_CHECKING:
    from projectsetup.engines.base import Adoption, AttemptSpec, CurrentRun, FindRun
    from projectsetup.engines.kubernetes_job.client import JobCache, JobClient, JobView
    from projectsetup.engines.kubernetes_job.run_control import RunControl

CHECK_AFTER: Final = 5.0
"""Seconds after which the API server is asked again if nothing changes."""
LOG_EVERY: Final = 12
"""Checks between two log lines about the same wait."""
CREATE_EXPIRES: Final = 20.0
"""Seconds after which a create that was not answered has been carried out, or never will be."""
CHECKS_BEFORE_DELETION: Final = 6
"""Checks in which a Job that has ended may end its pods by itself; then it is deleted with them."""
LINGERS_AFTER: Final = 60.0
"""Seconds after which a Job whose deletion takes time is reported."""
STUCK_AFTER: Final = 10.0
"""Seconds after which the Job controller knows that a Job is being deleted, and creates no more pods for it."""
TOMBSTONE_STAYS: Final = timedelta(minutes=5)
"""By then no create that was sent before the tombstone existed can still arrive."""

FindSuccess = Callable[[Body | None, Sequence[Body]], SetupSucceeded | None]
"""Returns the outcome that a Job and its pods report, if it is a success."""

_log = logging.getLogger("projectsetup.engine")


def no_success(_job: Body | None, _pods: Sequence[Body]) -> None:
    """Use as `FindSuccess` for a Job whose outcome does not matter."""


class StuckDeletions:
    """Recognizes Jobs that count as deleted although they still exist, kept by somebody else's finalizer."""

    def __init__(self) -> None:
        self._idle_since: dict[str, float] = {}

    def counts_as_deleted(self, job: Body, pods: Sequence[Body]) -> bool:
        """Whether the Job is being deleted, and had no pod that may run for `STUCK_AFTER`."""
        uid = job["metadata"]["uid"]
        if not is_being_deleted(job) or any(map(may_run, pods)):
            self._idle_since.pop(uid, None)
            return False
        now = asyncio.get_running_loop().time()
        return now - self._idle_since.setdefault(uid, now) >= STUCK_AFTER


@dataclass(frozen=True, slots=True)
class _Predecessor:
    """A Job of an earlier attempt that may still run; `job` is None if only pods of it are left."""

    ref: JobRef
    job: Body | None


async def wait_for_predecessors(
    client: JobClient, cache: JobCache, attempt: AttemptSpec, control: RunControl, *, limit: float
) -> float:
    """Return the seconds waited until no Job or pod of another attempt of this project may run.

    Jobs of the same ProjectSetup are deleted. Those of a deleted ProjectSetup of the same name are deleted by the
    cluster. Raises InfrastructureError after `limit` seconds, or if the API server refuses to list or delete them.
    """
    time = asyncio.get_running_loop().time
    checks, waited = 0, 0.0
    stuck = StuckDeletions()
    selector = f"{SELECTOR},{PROJECT}={attempt.project_id}"
    while True:
        jobs, pods = await until_answered(client, lambda: client.select(attempt.namespace, selector))
        predecessors = _predecessors(attempt, jobs, pods, stuck)
        if not predecessors:
            return waited
        names = ", ".join(sorted(predecessor.ref.name for predecessor in predecessors))
        if waited >= limit:
            allowed = format_duration(timedelta(seconds=limit))
            message = cut(f"earlier attempts did not end within {allowed}: {names}")
            raise InfrastructureError(Reason.ENGINE_ERROR, message)
        if checks % LOG_EVERY == 0:
            _log.warning("waiting for earlier attempts to end: %s", names)
        checks += 1
        with contextlib.ExitStack() as views:
            for ref, job in ((predecessor.ref, predecessor.job) for predecessor in predecessors):
                views.enter_context(cache.view(ref.namespace, ref.uid, control.wake))
                ends = job is None or is_being_deleted(job) or job_has_ended(job)
                if job is not None and not ends and is_owned_by(job, attempt.uid):
                    await until_answered(client, partial(ref.delete, client))
            began = time()
            await control.wait(min(CHECK_AFTER, limit - waited))
            waited += time() - began


def _predecessors(
    attempt: AttemptSpec, jobs: Sequence[Body], pods: Sequence[Body], stuck: StuckDeletions
) -> list[_Predecessor]:
    """Jobs that may still run, that a ProjectSetup of this name controls or did, and that are not the attempt's own."""
    by_job: dict[str, list[Body]] = defaultdict(list)
    refs: dict[str, JobRef] = {}
    for pod in pods:
        controller = controller_of(pod)
        if controller is not None and str(controller.get("name")).startswith(run_prefix(attempt.project_id)):
            by_job[controller["uid"]].append(pod)
            refs[controller["uid"]] = JobRef(attempt.namespace, controller["name"], controller["uid"])
    known = {JobRef.of(job): job for job in jobs if owner_name(job) == attempt.name}
    orphaned = set(refs.values()) - known.keys()
    found = [_Predecessor(ref, job) for ref, job in known.items() if _job_may_run(job, by_job[ref.uid], stuck)]
    found += [_Predecessor(ref, None) for ref in orphaned if any(map(may_run, by_job[ref.uid]))]
    return [predecessor for predecessor in found if predecessor.ref.name != attempt.run_name]


def _job_may_run(job: Body, pods: Sequence[Body], stuck: StuckDeletions) -> bool:
    if is_being_deleted(job):
        return not stuck.counts_as_deleted(job, pods)
    return any(map(may_run, pods)) or not (is_tombstone(job) or is_finished(job, pods))


async def create_job(client: JobClient, attempt: AttemptSpec, manifest: Manifest, control: RunControl) -> Body | None:
    """Create the attempt's Job, or return the one that exists already.

    Returns None, or a tombstone, if the attempt was stopped first; then no request that is still under way can create
    the Job. Raises InfrastructureError if the Job is refused, or if somebody else has a Job of that name.
    """
    unanswered = False
    for delay in retry_delays():
        if control.stopping:
            break
        try:
            return _own(await client.create_or_get(attempt.namespace, manifest), attempt)
        except client.refused as error:
            arrived = await _arrived(client, attempt) if unanswered else None
            if arrived is not None:
                return arrived
            if isinstance(error, client.no_room):
                raise NotStarted(f"cannot {error}") from error
            raise InfrastructureError(Reason.ENGINE_ERROR, f"cannot {error}") from error
        except client.failed as error:
            unanswered = True
            _log.warning("retrying: %s", error)
        await control.wait(delay)
    return await find_job_or_prevent_it(client, attempt) if unanswered else None


async def _arrived(client: JobClient, attempt: AttemptSpec) -> Body | None:
    """The Job of an unanswered create, once no such request can be under way any more."""
    await asyncio.sleep(CREATE_EXPIRES)
    found = await until_answered(client, partial(client.get_job, attempt.namespace, attempt.run_name))
    return None if found is None else _own(found, attempt)


async def find_job_or_prevent_it(client: JobClient, attempt: AttemptSpec | Adoption) -> Body:
    """Return the attempt's Job. If there is none, create a tombstone of its name and return that: no Job can follow.

    Raises InfrastructureError if somebody else has a Job of that name.
    """
    found = await until_answered(client, partial(client.get_job, attempt.namespace, attempt.run_name))
    if found is None:
        found = await until_answered(client, partial(client.create_or_get, attempt.namespace, tombstone(attempt)))
    return _own(found, attempt)


def _own(job: Body, attempt: AttemptSpec | Adoption) -> Body:
    """The Job, if the attempt's ProjectSetup controls it; any other Job is not trusted, whatever its name."""
    if is_owned_by(job, attempt.uid):
        return job
    message = f"a Job {attempt.run_name} already exists, and does not belong to this ProjectSetup"
    raise InfrastructureError(Reason.ENGINE_ERROR, message)


async def delete_job(
    client: JobClient,
    view: JobView,
    ref: JobRef,
    control: RunControl,
    *,
    find_success: FindSuccess,
    on_lingering: Callable[[str], None],
) -> SetupSucceeded | None:
    """Return once nothing of the Job runs or will run; the result is its outcome if it has succeeded anyway.

    That may take any time, for example on a node that does not answer; `on_lingering` is called then with the reason.
    A Job of which nothing runs is not deleted, so that people can still look at it.
    """
    checks = 0
    stuck = StuckDeletions()
    time = asyncio.get_running_loop().time
    began = time()
    while True:
        success = find_success(view.last_job, [*view.pods, *view.deleted_pods])
        if success is not None:
            return success
        try:
            job, pods = await ref.read(client)
            if time() - began >= LINGERS_AFTER:
                left = ", ".join(pod["metadata"]["name"] for pod in pods if may_run(pod)) or ref.name
                on_lingering(cut(f"stopped, but still waiting for {left} to end"))
            success = find_success(job or view.last_job, pods)
            if success is not None or _nothing_runs(job, pods, stuck):
                return success
            if job is not None and not _ends_by_itself(job, checks):
                await ref.delete(client)
        except client.failed as error:
            _log.warning("retrying: %s", error)
        if checks and checks % LOG_EVERY == 0:
            _log.warning("still waiting for the deletion of Job %s and its pods", ref)
        checks += 1
        await control.wait(CHECK_AFTER)


def _nothing_runs(job: Body | None, pods: Sequence[Body], stuck: StuckDeletions) -> bool:
    if job is None:
        return not any(map(may_run, pods))
    return stuck.counts_as_deleted(job, pods) if is_being_deleted(job) else is_finished(job, pods)


def _ends_by_itself(job: Body, checks: int) -> bool:
    return is_being_deleted(job) or (job_has_ended(job) and checks < CHECKS_BEFORE_DELETION)


async def collect_garbage(client: JobClient, cache: JobCache, find_run: FindRun, now: datetime) -> None:
    """Delete the Jobs that may still run and that their ProjectSetups do not report, and old tombstones.

    Only Jobs whose ProjectSetup exists are deleted; the cluster deletes those of deleted ProjectSetups. Raises
    InfrastructureError if the Jobs are not known yet, or if the API server does not answer.
    """
    if not cache.complete:
        raise InfrastructureError(Reason.ENGINE_ERROR, "not all Jobs are known yet")
    listed = [job for job, pods in cache.snapshot() if not (is_being_deleted(job) or is_finished(job, pods))]
    for job in listed:
        ref, owner = JobRef.of(job), owner_name(job)
        current = None if owner is None else find_run(ref.namespace, owner)
        if current is None or not is_owned_by(job, current.uid) or _is_needed(job, current, now):
            continue
        try:
            await ref.delete(client)
        except client.failed as error:
            raise InfrastructureError(Reason.ENGINE_ERROR, f"cannot {error}") from error
        _log.warning("deleted orphaned Job %s", ref, extra={"namespace": ref.namespace, "project": owner})


def _is_needed(job: Body, current: CurrentRun, now: datetime) -> bool:
    if not is_tombstone(job):
        return JobRef.of(job).name == current.run_name
    created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    return not current.is_over or now - created < TOMBSTONE_STAYS
