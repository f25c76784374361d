"""The attempts that run in this operator: started, watched, stopped, and what they came to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID

from projectsetup.api.reasons import Reason
from projectsetup.controller.facts import (
    AttemptStopped,
    RunOutcome,
    RunView,
    StopCause,
)
from projectsetup.controller.queue import Key
from projectsetup.engines.base import Adoption, AttemptSpec, Engine, FindRun, LeftRunning
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.observe.logs import about_setup, get_logger
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.model import ProjectStatus
from projectsetup.projects.record import ProjectRecord
from projectsetup.setup.errors import InfrastructureError, SetupStopped
from projectsetup.setup.updates import Progress

MARK_RETRY = 1.0
"""Seconds between two tries to tell the record where an attempt is, while the database is away."""

OF_THE_OPERATOR = frozenset({StopCause.SHUTDOWN, StopCause.LEASE_LOST, StopCause.FENCED})
"""Causes that lie in this operator and not in the setup."""

_log = get_logger("attempts")


@dataclass(slots=True)
class _Run:
    attempt: AttemptSpec | Adoption
    view: RunView
    obstacle: str | None = None
    task: asyncio.Task[RunOutcome | None] | None = None
    marking: asyncio.Task[None] | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def going_on(self) -> bool:
        """Whether its outcome is still to come in this operator."""
        return self.view.outcome is None and not self.view.left_running


class Attempts:
    """At most one attempt of a project. `on_progress` is told its key when a step begins, `on_end` when all is over."""

    def __init__(
        self,
        engine: Engine,
        record: ProjectRecord,
        leader: Leader,
        *,
        on_progress: Callable[[Key], None],
        on_end: Callable[[Key], None],
    ) -> None:
        self._engine = engine
        self._record = record
        self._leader = leader
        self._on_progress = on_progress
        self._on_end = on_end
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

    def start(self, attempt: AttemptSpec | Adoption, progress: Progress, *, obstacle: str | None = None) -> None:
        """Run an attempt in the background; after `stop_all` it is stopped before it begins.

        With an `obstacle`, one line about what is wrong with the infrastructure, the attempt breaks at once.
        """
        if attempt.project_id in self._runs:
            raise AssertionError(f"project {attempt.project_id} has an attempt already")
        run = _Run(attempt, RunView(attempt.uid, attempt.number, attempt.fence, progress), obstacle)
        self._runs[attempt.project_id] = run
        with about_setup(attempt.key, attempt=attempt.number):
            run.task = asyncio.create_task(self._outcome(run), name=f"attempt {attempt.number} of {attempt.project_id}")
            run.marking = asyncio.create_task(
                self._mark(run, progress.project_status), name=f"marks of {attempt.project_id}"
            )
        run.task.add_done_callback(lambda task: self._ended(run, task))
        if self._stopping_all is not None:
            self.stop(attempt.project_id, self._stopping_all)

    def stop(self, project_id: UUID, cause: StopCause) -> None:
        """Ask the attempt to stop; its outcome comes when nothing of it is alive.

        What outlives the operator is stopped for the sake of the setup alone; where it is the operator that must not
        go on, it is left running, and has no outcome here.
        """
        run = self._runs.get(project_id)
        if run is None or run.task is None or run.view.stopping is not None or run.view.outcome is not None:
            return
        run.view = replace(run.view, stopping=cause)
        if self._engine.outlives_operator and cause in OF_THE_OPERATOR:
            run.leave.set()
            if cause is StopCause.SHUTDOWN:  # what is being started is started first
                return
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
        return [project_id for project_id, run in self._runs.items() if run.going_on]

    @property
    def outlive_operator(self) -> bool:
        """Whether attempts go on when this operator ends."""
        return self._engine.outlives_operator

    async def changed(self) -> None:
        """Return when an attempt was started, has ended or was forgotten."""
        await self._change.wait()

    def _tell_change(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def keys(self) -> list[Key]:
        """The ProjectSetups whose attempt is prepared, runs, or has ended and is not told yet."""
        return [*self._preparing, *(run.attempt.key for run in self._runs.values() if not run.view.left_running)]

    def busy(self, key: Key) -> bool:
        """Whether `keys` holds this one."""
        return key in self.keys()

    def lingers(self, key: Key) -> bool:
        """Whether what is left of its ended attempt does not go away: that holds no slot, or it might for ever."""
        return any(run.attempt.key == key and run.view.progress.lingers for run in self._runs.values())

    def stop_all(self, cause: StopCause) -> None:
        """Ask all attempts to stop, those too that are still to be started."""
        self._stopping_all = cause
        for project_id in self.running:
            self.stop(project_id, cause)

    async def collect_garbage(self, find_run: FindRun) -> None:
        """End what the engine runs and nobody wants; `find_run` is called once it is known what runs."""
        await self._engine.collect_garbage(find_run)

    async def kill_all(self, cause: StopCause) -> None:
        """End all attempts at once, without grace."""
        self.stop_all(cause)
        await self._engine.kill_all()
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, run: _Run, task: asyncio.Task[RunOutcome | None]) -> None:
        if run.marking is not None:
            run.marking.cancel()
        if not task.cancelled():
            outcome = task.result()
        elif run.leave.is_set():  # before it had begun, or with the event loop
            outcome = self._left(run)
        else:
            outcome = AttemptStopped(run.view.stopping or StopCause.SHUTDOWN)
        run.view = replace(run.view, outcome=outcome, left_running=outcome is None)
        self._tell_change()
        self._on_end(run.attempt.key)

    def _left(self, run: _Run) -> RunOutcome | None:
        """None: what runs goes on, and its outcome is for the next operator to tell."""
        return AttemptStopped(StopCause.FENCED) if run.view.stopping is StopCause.FENCED else None

    async def _outcome(self, run: _Run) -> RunOutcome | None:
        if run.obstacle is not None:
            return InfrastructureError(Reason.ENGINE_ERROR, run.obstacle)
        try:
            return await self._engine.run(run.attempt, lambda progress: self._advance(run, progress), run.leave)
        except (LeftRunning, LeaseLost):
            return self._left(run)
        except (InfrastructureError, SetupStopped, asyncio.CancelledError) as error:
            if run.view.stopping is not None:
                return AttemptStopped(run.view.stopping)
            if not isinstance(error, InfrastructureError):
                raise
            return error.with_traceback(None)
        except Exception:  # noqa: BLE001  # one attempt must not end the operator
            _log.exception("the engine failed in a way it should not")
            return InfrastructureError(Reason.ENGINE_ERROR, "internal error of the operator, see its log")

    def _advance(self, run: _Run, progress: Progress) -> None:
        if progress == run.view.progress:
            return
        if progress.step != run.view.progress.step:
            with about_setup(run.attempt.key, attempt=run.attempt.number, step=progress.step):
                _log.info("the next step begins", progress=str(progress))
        run.view = replace(run.view, progress=progress)
        run.moved.set()
        self._on_progress(run.attempt.key)

    async def _mark(self, run: _Run, recorded: str | None) -> None:
        """Keep the record's status where the attempt is; the attempt goes on while the database is away."""
        project_id = run.attempt.project_id
        while True:
            await run.moved.wait()
            run.moved.clear()
            status = run.view.progress.project_status
            if status == recorded:
                continue
            try:
                self._leader.check()
                held = await self._record.mark(project_id, run.attempt.fence, ProjectStatus(status))
                recorded = status
            except (DatabaseUnavailable, LeaseLost):
                recorded = None
                run.moved.set()
                await asyncio.sleep(MARK_RETRY)
                continue
            if not held:
                _log.warning("the fence has moved on, the attempt is stopped")
                self.stop(project_id, StopCause.FENCED)
                return
