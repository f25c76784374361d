"""The attempts that run in this operator: started, watched, stopped, and what they came to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from projectsetup.api.reasons import Reason
from projectsetup.cluster.leader import Leader, LeaseLost
from projectsetup.control.facts import AttemptBroken, AttemptStopped, Progress, RunOutcome, RunView, StopCause
from projectsetup.control.queue import Key
from projectsetup.observe.logs import get_logger
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.model import Project, ProjectStatus
from projectsetup.projects.record import ProjectRecord
from projectsetup.recipes.model import Recipe
from projectsetup.setup.credentials import GitCredentials
from projectsetup.setup.errors import InfrastructureError, SetupStopped
from projectsetup.setup.outcome import SetupFailed, SetupSucceeded

MARK_RETRY = 1.0
"""Seconds between two tries to tell the record where an attempt is, while the database is away."""

_log = get_logger("attempts")


@dataclass(frozen=True, slots=True)
class AttemptOrder:
    """All that an engine needs to run one attempt; `timeout` is in seconds.

    With an `obstacle` the attempt breaks at once: that line says what of the infrastructure stands in its way.
    """

    key: Key
    uid: str
    project: Project
    recipe: Recipe
    parameters: dict[str, str]
    number: int
    fence: int
    timeout: float
    credentials: GitCredentials | None
    obstacle: str | None = None


class Engine(Protocol):
    """Where an attempt runs."""

    name: str

    async def run(self, order: AttemptOrder, on_progress: Callable[[Progress], None]) -> SetupSucceeded | SetupFailed:
        """Run one attempt; InfrastructureError when it broke.

        Cancelled, it ends when all of it is gone, with an outcome only when the last step had succeeded all the same.
        """
        ...

    async def kill_all(self) -> None:
        """End every process of every attempt at once."""
        ...


@dataclass(slots=True)
class _Run:
    order: AttemptOrder
    view: RunView
    task: asyncio.Task[RunOutcome] | None = None
    marking: asyncio.Task[None] | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)


class Attempts:
    """At most one attempt of a project. `on_change` is called with the key whenever something happened to one."""

    def __init__(
        self, engine: Engine, record: ProjectRecord, leader: Leader, *, on_change: Callable[[Key], None]
    ) -> None:
        self._engine = engine
        self._record = record
        self._leader = leader
        self._on_change = on_change
        self._runs: dict[UUID, _Run] = {}
        self._preparing: list[Key] = []
        self._stopping_all: StopCause | None = None
        self._change = asyncio.Event()

    def view(self, project_id: UUID, uid: str | None = None) -> RunView | None:
        """The attempt of this project that this operator has started and not yet forgotten.

        With `uid` only when it is one of that ProjectSetup, and not of a predecessor or a rival.
        """
        run = self._runs.get(project_id)
        return run.view if run is not None and uid in {None, run.view.uid} else None

    @contextmanager
    def preparing(self, key: Key) -> Iterator[None]:
        """While an attempt of `key` is written down, to be started then: who waits for all attempts waits for it."""
        self._preparing.append(key)
        try:
            yield
        finally:
            self._preparing.remove(key)
            self._tell_change()

    def start(self, order: AttemptOrder, progress: Progress) -> None:
        """Run an attempt in the background; after `stop_all` it is stopped before it has begun."""
        if order.project.id in self._runs:
            raise AssertionError(f"project {order.project.id} has an attempt already")
        run = _Run(order, RunView(order.uid, order.number, order.fence, progress))
        self._runs[order.project.id] = run
        run.task = asyncio.create_task(self._outcome(run), name=f"attempt {order.number} of {order.project.id}")
        run.marking = asyncio.create_task(self._mark(run), name=f"marks of {order.project.id}")
        run.task.add_done_callback(lambda task: self._ended(run, task))
        if self._stopping_all is not None:
            self.stop(order.project.id, self._stopping_all)

    def stop(self, project_id: UUID, cause: StopCause) -> None:
        """Ask the attempt to stop; its outcome comes when nothing of it is alive."""
        run = self._runs.get(project_id)
        if run is None or run.task is None or run.view.stopping is not None or run.view.outcome is not None:
            return
        run.view = replace(run.view, stopping=cause)
        run.task.cancel()

    def forget(self, project_id: UUID, uid: str) -> None:
        """The end of this attempt is told: it is no longer of interest."""
        run = self._runs.get(project_id)
        if run is not None and run.view.uid == uid and run.view.outcome is not None:
            del self._runs[project_id]
            self._tell_change()

    @property
    def running(self) -> list[UUID]:
        """The projects whose attempt runs."""
        return [project_id for project_id, run in self._runs.items() if run.view.outcome is None]

    async def changed(self) -> None:
        """Return when an attempt was started, has ended or was forgotten."""
        await self._change.wait()

    def _tell_change(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def keys(self) -> list[Key]:
        """The ProjectSetups whose attempt is prepared, runs, or has ended and is not told yet."""
        return [*self._preparing, *(run.order.key for run in self._runs.values())]

    def busy(self, key: Key) -> bool:
        """Whether `keys` holds this one."""
        return key in self.keys()

    def stop_all(self, cause: StopCause) -> None:
        """Ask all attempts to stop, those too that are still to be started."""
        self._stopping_all = cause
        for project_id in self.running:
            self.stop(project_id, cause)

    async def kill_all(self, cause: StopCause) -> None:
        """End all attempts at once, without grace."""
        self.stop_all(cause)
        await self._engine.kill_all()
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, run: _Run, task: asyncio.Task[RunOutcome]) -> None:
        if run.marking is not None:
            run.marking.cancel()
        if task.cancelled():  # before it had begun, or with the event loop
            outcome: RunOutcome = AttemptStopped(run.view.stopping or StopCause.SHUTDOWN)
        else:
            outcome = task.result()
        run.view = replace(run.view, outcome=outcome)
        self._tell_change()
        self._on_change(run.order.key)

    async def _outcome(self, run: _Run) -> RunOutcome:
        log = _log.bind(project=str(run.order.project.id), attempt=run.order.number)
        if run.order.obstacle is not None:
            return AttemptBroken(Reason.ENGINE_ERROR, run.order.obstacle)
        try:
            return await self._engine.run(run.order, lambda progress: self._advance(run, progress))
        except (InfrastructureError, SetupStopped, asyncio.CancelledError) as error:
            if run.view.stopping is not None:
                return AttemptStopped(run.view.stopping)
            if not isinstance(error, InfrastructureError):
                raise
            return AttemptBroken(error.reason, error.message, error.step, error.exit_code)
        except Exception:
            log.exception("the engine failed in a way it should not")
            return AttemptBroken(Reason.ENGINE_ERROR, "internal error of the operator, see its log")

    def _advance(self, run: _Run, progress: Progress) -> None:
        if progress == run.view.progress:
            return
        run.view = replace(run.view, progress=progress)
        run.moved.set()
        self._on_change(run.order.key)

    async def _mark(self, run: _Run) -> None:
        """Keep the record's status where the attempt is; the attempt goes on while the database is away."""
        project_id = run.order.project.id
        while True:
            await run.moved.wait()
            run.moved.clear()
            try:
                self._leader.check()
                status = ProjectStatus(run.view.progress.project_status)
                held = await self._record.mark(project_id, run.order.fence, status)
            except (DatabaseUnavailable, LeaseLost):
                run.moved.set()
                await asyncio.sleep(MARK_RETRY)
                continue
            if not held:
                _log.warning("the fence has moved on, the attempt is stopped", project=str(project_id))
                self.stop(project_id, StopCause.FENCED)
                return
