"""The attempts that run in this operator: start, progress, stop, outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from projectsetup.api.reasons import Reason
from projectsetup.controller.facts import PROGRESS_INTERVAL, Origin, RunView
from projectsetup.controller.log_writer import LogWriter
from projectsetup.controller.outcome import AttemptStopped, RunOutcome, StopCause
from projectsetup.controller.workqueue import Key
from projectsetup.engines.base import Adoption, AttemptSpec, Engine, FindRun, LeftRunning
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.observe.logs import about_setup, get_logger
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.model import ProjectStatus
from projectsetup.projects.record import ProjectRecord
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.types import InfrastructureError, Progress, SetupOutcome, SetupStopped

PROGRESS_DELAY = 0.1
"""Seconds before a new step is reported: of several that begin in that time, only the last one is."""

MARK_RETRY = 1.0
"""Seconds between two tries to record the project's status while the database is unavailable."""

OPERATOR_CAUSES = frozenset({StopCause.SHUTDOWN, StopCause.LEASE_LOST, StopCause.FENCED})
"""Causes that concern this operator and not the setup."""

_log = get_logger("attempts")


@dataclass(slots=True)
class _Run:
    attempt: AttemptSpec | Adoption
    view: RunView
    log: AttemptLog
    obstacle: str | None = None
    task: asyncio.Task[RunOutcome | None] | None = None
    marking: asyncio.Task[None] | None = None
    progressed: asyncio.Event = field(default_factory=asyncio.Event)
    report_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    """When its progress is next due to be reported, or was last; `.status` was written just before its start."""
    leave: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_active(self) -> bool:
        """Whether its outcome is still to come in this operator."""
        return self.view.outcome is None and not self.view.left_running


class Runs:
    """At most one attempt of each project.

    `on_progress` gets its key and the seconds until it may be reported when a step begins, `on_end` its key when it
    ended.
    """

    def __init__(
        self,
        engine: Engine,
        record: ProjectRecord,
        leader: Leader,
        *,
        on_progress: Callable[[Key, float], None],
        on_end: Callable[[Key], None],
        log_limit: int = 0,
    ) -> None:
        """`log_limit`: bytes of the output of an attempt that are kept in the record."""
        self._engine = engine
        self._record = record
        self._leader = leader
        self._on_progress = on_progress
        self._on_end = on_end
        self._log_limit = log_limit
        self._logs = record.logs()
        self._runs: dict[UUID, _Run] = {}
        self._preparing: list[Key] = []
        self._stopping_all: StopCause | None = None
        self._change = asyncio.Event()

    def view(self, project_id: UUID, uid: str | None = None) -> RunView | None:
        """The attempt of this project that this operator started and has not forgotten.

        With `uid`, only an attempt of that ProjectSetup, and not of a predecessor or rival.
        """
        run = self._runs.get(project_id)
        return run.view if run is not None and uid in {None, run.view.uid} else None

    @contextmanager
    def preparing(self, key: Key) -> Iterator[None]:
        """Hold this while writing down an attempt of `key` that starts next: `keys` includes it already."""
        self._preparing.append(key)
        try:
            yield
        finally:
            self._preparing.remove(key)
            self._notify()

    def start(
        self,
        attempt: AttemptSpec | Adoption,
        progress: Progress,
        *,
        origin: Origin | None = None,
        obstacle: str | None = None,
        announce_at: datetime | None = None,
    ) -> None:
        """Run an attempt in the background; after `stop_all` it is stopped before it begins.

        With an `obstacle`, one line about what is wrong with the infrastructure, the attempt breaks at once.
        """
        if attempt.project_id in self._runs:
            raise AssertionError(f"project {attempt.project_id} already has an attempt")
        view = RunView(attempt.uid, attempt.number, attempt.fence, progress, origin=origin, announce_at=announce_at)
        run = _Run(attempt, view, AttemptLog(self._log_limit), obstacle)
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

        An attempt that outlives the operator is stopped only for a cause that concerns the setup. For any other cause
        it is left running, and has no outcome here.
        """
        run = self._runs.get(project_id)
        if run is None or run.task is None or run.view.stopping is not None or run.view.outcome is not None:
            return
        run.view = replace(run.view, stopping=cause)
        if self._engine.outlives_operator and cause in OPERATOR_CAUSES:
            run.leave.set()
            if cause is StopCause.SHUTDOWN:  # an attempt that is just being started is started first
                return
        run.task.cancel()

    def announced(self, project_id: UUID) -> None:
        """The start of the attempt is an event now."""
        run = self._runs[project_id]
        run.view = replace(run.view, announce_at=None)

    def forget(self, project_id: UUID, uid: str) -> None:
        """Drop the attempt if it has ended: its end is reported."""
        run = self._runs.get(project_id)
        if run is not None and run.view.uid == uid and run.view.outcome is not None:
            del self._runs[project_id]
            self._notify()

    @property
    def running(self) -> list[UUID]:
        """The projects whose attempt runs."""
        return [project_id for project_id, run in self._runs.items() if run.is_active]

    @property
    def engine_name(self) -> str:
        """The name of the engine that runs them."""
        return self._engine.name

    @property
    def outlive_operator(self) -> bool:
        """Whether attempts continue when this operator ends."""
        return self._engine.outlives_operator

    async def changed(self) -> None:
        """Wait until an attempt was started, has ended or was forgotten."""
        await self._change.wait()

    def _notify(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def keys(self) -> list[Key]:
        """The ProjectSetups whose attempt is being prepared, runs, or has ended without being reported yet."""
        return [*self._preparing, *(run.attempt.key for run in self._runs.values() if not run.view.left_running)]

    def is_busy(self, key: Key) -> bool:
        """Whether `keys` has this key."""
        return key in self.keys()

    def lingers(self, key: Key) -> bool:
        """Whether its attempt was stopped but some of it does not go away; that holds no slot, or might forever."""
        return any(run.attempt.key == key and run.view.progress.lingers for run in self._runs.values())

    def stop_all(self, cause: StopCause) -> None:
        """Ask all attempts to stop, including those that are still to be started."""
        self._stopping_all = cause
        for project_id in self.running:
            self.stop(project_id, cause)

    async def collect_garbage(self, find_run: FindRun) -> None:
        """End runs that no ProjectSetup reports, see `Engine`."""
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
        elif run.leave.is_set():  # cancelled before it began, or with the event loop
            outcome = self._left_running(run)
        else:
            outcome = AttemptStopped(run.view.stopping or StopCause.SHUTDOWN)
        run.view = replace(run.view, outcome=outcome, left_running=outcome is None, steps=run.log.steps)
        self._notify()
        self._on_end(run.attempt.key)

    def _left_running(self, run: _Run) -> RunOutcome | None:
        """None: the attempt continues, and the next operator reports its outcome."""
        return AttemptStopped(StopCause.FENCED) if run.view.stopping is StopCause.FENCED else None

    async def _outcome(self, run: _Run) -> RunOutcome | None:
        if run.obstacle is not None:
            return InfrastructureError(Reason.ENGINE_ERROR, run.obstacle)
        try:
            return await self._run_logged(run)
        except (LeftRunning, LeaseLost):
            return self._left_running(run)
        except (InfrastructureError, SetupStopped, asyncio.CancelledError) as error:
            if run.view.stopping is not None:
                return AttemptStopped(run.view.stopping)
            if not isinstance(error, InfrastructureError):
                raise
            return error.with_traceback(None)
        except Exception:  # noqa: BLE001  # one attempt must not end the operator
            _log.exception("unexpected error in the engine")
            return InfrastructureError(Reason.ENGINE_ERROR, "internal error in the operator; see its log")

    async def _run_logged(self, run: _Run) -> SetupOutcome:
        """Run the attempt, and return when its log is stored as well, or cannot be stored for now."""
        since = run.view.origin.started_at if run.view.origin else datetime.now(UTC)
        writer = LogWriter(self._logs, run.log, run.attempt, since, self._leader)
        if isinstance(run.attempt, Adoption) and self._log_limit > 0:
            await writer.restore()
        writing = asyncio.create_task(writer.run(), name=f"log of {run.attempt.run_name}")
        left_running = False
        try:
            return await self._engine.run(run.attempt, partial(self._advance, run), run.leave, run.log)
        except (LeftRunning, LeaseLost):
            left_running = True
            raise
        finally:
            await writer.end(writing, left_running=left_running)

    def _advance(self, run: _Run, progress: Progress) -> None:
        if progress == run.view.progress:
            return
        if progress.step != run.view.progress.step:
            with about_setup(run.attempt.key, attempt=run.attempt.number, step=progress.step):
                _log.info("step started", progress=str(progress))
        run.view = replace(run.view, progress=progress)
        run.progressed.set()
        now = asyncio.get_running_loop().time()
        if now >= run.report_at:
            run.report_at = max(now + PROGRESS_DELAY, run.report_at + PROGRESS_INTERVAL.total_seconds())
        self._on_progress(run.attempt.key, run.report_at - now)

    async def _mark(self, run: _Run, recorded: str | None) -> None:
        """Keep the project's status in the record up to date; the attempt continues during a database outage."""
        project_id = run.attempt.project_id
        while True:
            await run.progressed.wait()
            run.progressed.clear()
            status = run.view.progress.project_status
            if status == recorded:
                continue
            try:
                self._leader.check()
                held = await self._record.mark(project_id, run.attempt.fence, ProjectStatus(status))
                recorded = status
            except (DatabaseUnavailable, LeaseLost):
                recorded = None
                run.progressed.set()
                await asyncio.sleep(MARK_RETRY)
                continue
            if not held:
                _log.warning("lost the claim on the project; stopping the attempt")
                self.stop(project_id, StopCause.FENCED)
                return
