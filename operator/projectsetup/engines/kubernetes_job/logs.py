"""Reads the logs of an attempt's containers, one after another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from projectsetup.engines.kubernetes_job.client import retry_delays
from projectsetup.engines.kubernetes_job.container_log import MISSING, ContainerLog, Place, Unreadable
from projectsetup.engines.kubernetes_job.objects import container_statuses, is_being_deleted, pod_has_ended, termination

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from projectsetup.engines.kubernetes_job.client import Body, JobClient
    from projectsetup.engines.kubernetes_job.plan import Plan, PlannedStage
    from projectsetup.setup.log import AttemptLog

QUICK: Final = 2.0
"""Seconds; the log of a container that has ended by then is read once, not followed.

The kubelet checks containers once a second, so an end is seen up to that much later, and more on a busy node.
"""
END_LIMIT: Final = 3.0
"""Seconds in which the rest of the logs is read before the end of an attempt is reported."""
REST_LIMIT: Final = 30.0
"""Seconds in which the rest of a container's log is read while the attempt continues."""
STREAM_END: Final = 2.0
"""Seconds in which the kubelet notices the end of a container and ends the stream of its log."""
MAX_DELAY: Final = 60.0
"""Seconds until an unreadable log is requested again."""
PAUSE: Final = 3.0
"""After a piece of a log, so many times what it took to handle it: then a flood takes a quarter of the operator."""
MAX_LAG: Final = 5.0
"""Seconds of output by which the reader may fall behind before it skips to the end of the log."""
MAX_REST: Final = 4 * 1024 * 1024
"""Bytes that are read after the end of a container before the reader skips to the end of the log."""
MIN_TAIL: Final = 100
MAX_TAIL: Final = 50_000
"""Lines at the end of a log that the reader skips to."""

_NEVER: Final = "1970-"
"""Begins the time at which a container was started that could not be started."""

_log = logging.getLogger("projectsetup.engine")


@dataclass(slots=True)
class _Container:
    """A container that has begun. `gone`: its pod was deleted; `is_deleted`: it was, or will be."""

    pod: str
    stage: PlannedStage
    began: datetime | None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_deleted: bool = False
    gone: bool = False


class LogReader:
    """Reads the containers that `see` shows, in order, and adds to `log` what comes after `log.position`.

    `on_step` is called with the name of each step that begins in a container that runs. `delay`: seconds until the log
    of a container that runs is requested. `secret`: see `ContainerLog`, for stages with credentials. Without room in
    `log`, only stages of several steps are followed, for their steps.
    """

    def __init__(
        self,
        client: JobClient,
        namespace: str,
        plan: Plan,
        log: AttemptLog,
        on_step: Callable[[str], None],
        *,
        delay: float,
        secret: str | None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._plan = plan
        self._log = log
        self._on_step = on_step
        self._delay = delay
        self._secret = secret
        self._place = None if log.position is None else Place.read(log.position)
        self._resumed = self._place
        self._containers: dict[tuple[str, str], _Container] = {}
        self._queue: asyncio.Queue[_Container | None] = asyncio.Queue()
        self._hurried = asyncio.Event()
        self._current: ContainerLog | None = None
        self._task: asyncio.Task[None] | None = None

    def see(self, pods: Sequence[Body], deleted: Sequence[Body]) -> None:
        """Take note of the pods of the Job, and of those that were deleted."""
        gone = {pod["metadata"]["name"] for pod in deleted}
        ordered = sorted((*pods, *deleted), key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        for pod in self._from_resumed(ordered):
            for stage, began, has_ended in _begun(pod, self._plan):
                container = self._container(pod["metadata"]["name"], stage, began)
                if container is None:
                    continue
                container.gone = container.pod in gone
                container.is_deleted = container.gone or is_being_deleted(pod)
                if has_ended or container.gone:
                    container.ended.set()

    def hurry(self) -> None:
        """Read at once what was left for later: the pod is about to be deleted."""
        self._hurried.set()

    async def finish(self) -> None:
        """Return once the logs are read to their ends, or say that some is missing; all containers have ended."""
        for container in self._containers.values():
            container.ended.set()
        self._queue.put_nowait(None)
        if self._task is None:
            if self._resumed is not None:
                self._log.add_missing(self._resumed.step, MISSING.format(why=f"pod {self._resumed.pod} is gone"))
            return
        await asyncio.wait({self._task}, timeout=END_LIMIT)
        if not self._task.done():
            await self.close()
            self._miss(f"the node did not send it within {END_LIMIT:.0f}s")
        elif (error := self._task.exception()) is not None:
            _log.error("cannot read the rest of the log", exc_info=error)
            self._miss("internal error in the operator; see its log")

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _from_resumed(self, pods: Sequence[Body]) -> Sequence[Body]:
        """Without the pods before the one whose log was being read when this operator took over."""
        names = [pod["metadata"]["name"] for pod in pods]
        resumed = self._resumed
        return pods if resumed is None or resumed.pod not in names else pods[names.index(resumed.pod) :]

    def _container(self, pod: str, stage: PlannedStage, began: datetime | None) -> _Container | None:
        """The container that runs this stage; None if all of its log was read before this operator took over."""
        resumed, names = self._resumed, self._plan.containers
        if resumed is not None and resumed.pod == pod and names.index(stage.name) < names.index(resumed.container):
            return None
        key = pod, stage.name
        if key not in self._containers:
            self._containers[key] = _Container(pod, stage, began)
            self._queue.put_nowait(self._containers[key])
            self._task = self._task or asyncio.create_task(self._read_all(), name=f"logs of {pod}")
        return self._containers[key]

    def _miss(self, why: str) -> None:
        if self._current is not None:
            self._current.miss(why)

    async def _read_all(self) -> None:
        while (container := await self._queue.get()) is not None:
            if self._log.limit > 0 or len(container.stage.steps) > 1:
                await self._read(container)
            self._log.step_began(container.stage.name, container.began)

    async def _read(self, container: _Container) -> None:
        await _first(self._delay, container.ended, self._hurried)
        secret = self._secret if container.stage.credentials else None
        on_step = partial(self._step_began, container)
        log = ContainerLog(container.stage, self._begin(container), self._log, on_step, secret=secret)
        self._current = log
        was_complete = await self._follow(container, log)
        if self._log.limit > 0:
            await self._read_rest(container, log, was_complete=was_complete)
        self._place = log.place

    def _begin(self, container: _Container) -> Place:
        """Where the log of this container is read from; if its pod replaces another one, the log says so."""
        last, first = self._place, container.stage.name
        if last is not None and (last.pod, last.container) == (container.pod, first):
            return last
        place = Place(container.pod, first, first)
        if last is not None and last.pod != container.pod:
            line = f"[projectsetup] pod {last.pod} was lost; pod {container.pod} begins again"
            self._log.start_over()
            self._log.add_missing(first, line, position=place.written())
        return place

    def _step_began(self, container: _Container, step: str) -> None:
        if not container.ended.is_set():
            self._on_step(step)

    async def _follow(self, container: _Container, log: ContainerLog) -> bool:
        """Follow the log until the container ends; return whether the kubelet ended it after the last line."""
        delays, complete = retry_delays(MAX_DELAY), False
        while not (container.ended.is_set() or self._has_enough(log)):
            place = log.place
            complete = await self._follow_once(container, log)
            if log.place != place:
                delays = retry_delays(MAX_DELAY)
            await _first(next(delays), container.ended)
        return complete

    async def _follow_once(self, container: _Container, log: ContainerLog) -> bool:
        """Follow the log until the container or the connection ends; return whether the kubelet ended it."""
        stream = asyncio.create_task(self._stream(container, log, follow=True))
        ended = asyncio.create_task(container.ended.wait())
        try:
            await asyncio.wait({stream, ended}, return_when=asyncio.FIRST_COMPLETED)
            if container.is_deleted:
                await asyncio.wait({stream}, timeout=STREAM_END)
        finally:
            ended.cancel()
            stream.cancel()
            await asyncio.wait({stream})
        if stream.cancelled():
            return False
        try:
            stream.result()
        except (self._client.failed, Unreadable) as error:
            _log.info("the log cannot be read for now; retrying: %s", error)
            return False
        return True

    async def _read_rest(self, container: _Container, log: ContainerLog, *, was_complete: bool) -> None:
        """Read what came after the log was followed; it may be gone with its pod if it `was_complete` then."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + REST_LIMIT
        for delay in retry_delays():
            try:
                await self._stream(container, log, follow=False)
                log.close()
            except (self._client.failed, Unreadable) as error:
                is_gone = isinstance(error, (Unreadable, *self._client.refused))
                if was_complete and is_gone:
                    return
                if isinstance(error, Unreadable) or container.gone or clock() >= deadline:
                    log.miss(str(error) if isinstance(error, Unreadable) else f"cannot {error}")
                    return
            else:
                return
            await asyncio.sleep(delay)

    async def _stream(self, container: _Container, log: ContainerLog, *, follow: bool) -> None:
        """Read the log to its end; after falling behind, only its last lines."""
        tail: int | None = None
        while True:
            log.open()
            since = log.place.since
            pieces = self._client.read_log(
                self._namespace, container.pod, container.stage.name, since=since, tail=tail, follow=follow
            )
            async with contextlib.aclosing(pieces):
                if await self._feed(log, pieces, follow=follow, may_skip=follow or tail is None):
                    return
            tail = min(max(self._log.limit // log.bytes_per_line, MIN_TAIL), MAX_TAIL)

    async def _feed(self, log: ContainerLog, pieces: AsyncGenerator[bytes], *, follow: bool, may_skip: bool) -> bool:
        """Add what is read to the log; return False if there is too much of it."""
        clock = asyncio.get_running_loop().time
        least_lag, read = math.inf, 0
        async for piece in pieces:
            began = clock()
            log.feed(piece)
            if self._has_enough(log):
                return True
            read += len(piece)
            lag = 0.0 if log.last_at is None else began - log.last_at.timestamp()
            least_lag = min(lag, least_lag)
            behind = lag > least_lag + MAX_LAG if follow else read > max(MAX_REST, 2 * self._log.limit)
            if behind and may_skip and self._log.limit > 0:
                return False
            await asyncio.sleep(PAUSE * (clock() - began) if follow else 0)
        return True

    def _has_enough(self, log: ContainerLog) -> bool:
        return self._log.limit == 0 and log.is_at_last_step


def _begun(pod: Body, plan: Plan) -> Iterator[tuple[PlannedStage, datetime | None, bool]]:
    """The stages of a pod whose containers have begun, with the time, and whether they have ended."""
    statuses = container_statuses(pod)
    for stage in plan.stages:
        status = statuses.get(stage.name)
        end = termination(status)
        state = end or ((status or {}).get("state") or {}).get("running")
        if state is None:
            return
        began = state.get("startedAt")
        if began is not None and began.startswith(_NEVER):
            return
        has_ended = end is not None or pod_has_ended(pod)
        yield stage, None if began is None else datetime.fromisoformat(began), has_ended


async def _first(limit: float, *events: asyncio.Event) -> None:
    """Return once one of the events is set, or after this time."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
