"""Cleans up after deleted ProjectSetups: stops what still runs, then releases the project."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from projectsetup.controller.cache import Deleted
from projectsetup.controller.database_health import DatabaseHealth
from projectsetup.controller.decisions import ReleaseClaim, StopRun
from projectsetup.controller.facts import RunView
from projectsetup.controller.history import end_of_deleted, past_attempt
from projectsetup.controller.lifecycle import decide_deleted
from projectsetup.controller.runs import Runs
from projectsetup.controller.traces import SeriesEnd, Traces
from projectsetup.controller.workqueue import Key, WorkQueue
from projectsetup.kube.leader import Leader
from projectsetup.observe.logs import get_logger
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.model import ProjectStatus
from projectsetup.projects.record import ProjectRecord

_log = get_logger("cleanup")


@dataclass(slots=True)
class Cleanup:
    """Remembers each deleted ProjectSetup until its project is released."""

    runs: Runs
    record: ProjectRecord
    database: DatabaseHealth
    leader: Leader
    queue: WorkQueue
    traces: Traces
    _pending: dict[Key, set[str]] = field(default_factory=dict)

    def add(self, deleted: Deleted) -> None:
        """Clean up after this ProjectSetup."""
        self._pending.setdefault(deleted.key, set()).add(deleted.uid)
        self.queue.add(deleted.key)

    def keys(self) -> list[Key]:
        """The keys that still need cleaning up."""
        return list(self._pending)

    async def clean_up(self, key: Key) -> None:
        """Do what can be done now for the ProjectSetups that were deleted at `key`."""
        try:
            project_id = UUID(key[1])
        except ValueError:
            self._pending.pop(key, None)
            return
        for uid in list(self._pending.get(key, ())):
            if await self._release(project_id, uid):
                self._pending[key].discard(uid)
        if not self._pending.get(key):
            self._pending.pop(key, None)

    async def _release(self, project_id: UUID, uid: str) -> bool:
        """Whether the project is released; False while an attempt runs or the database is unavailable."""
        run = self.runs.view(project_id, uid)
        decision = decide_deleted(run)
        if isinstance(decision, StopRun):
            self.runs.stop(project_id, decision.cause)
        if not isinstance(decision, ReleaseClaim) or self.database.problem is not None:
            return False
        self.leader.check()
        ended = self._end(run, project_id)
        past = ended.past if ended is not None else None
        try:
            written = False
            if decision.ready_fence is not None:
                written = await self.record.finish(
                    project_id,
                    decision.ready_fence,
                    status=ProjectStatus.READY,
                    setup_error=None,
                    result={},
                    history=past,
                )
                past = None
            released = await self.record.release(project_id, uid, history=past)
        except DatabaseUnavailable as error:
            self.database.mark_down(str(error))
            return False
        if released is not None:
            _log.info("released the project of a deleted ProjectSetup", uid=uid)
        if ended is not None and (written or (past is not None and released is not None)):
            self.traces.ended(ended)
        self.runs.forget(project_id, uid)
        return True

    def _end(self, run: RunView | None, project_id: UUID) -> SeriesEnd | None:
        """The end of the attempt that ran; None if there was none."""
        if run is None or run.origin is None:
            return None
        end, origin = end_of_deleted(run.attempt, run.outcome, datetime.now(UTC)), run.origin
        return SeriesEnd(
            key=(origin.namespace, str(project_id)),
            uid=origin.uid,
            queued_at=origin.queued_at or origin.started_at,
            recipe=origin.recipe,
            engine=self.runs.engine_name,
            end=end,
            past=past_attempt(end, origin, run.steps, self.runs.engine_name),
        )
