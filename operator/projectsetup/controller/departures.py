"""ProjectSetups that were deleted: what runs of them is stopped, then their project is freed."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from projectsetup.controller.attempts import Attempts
from projectsetup.controller.database_gate import DatabaseGate
from projectsetup.controller.decisions import ReleaseClaim, StopRun
from projectsetup.controller.lifecycle import decide_gone
from projectsetup.controller.queue import Key, WorkQueue
from projectsetup.controller.store import Departed
from projectsetup.kube.leader import Leader
from projectsetup.observe.logs import get_logger
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.model import ProjectStatus
from projectsetup.projects.record import ProjectRecord

_log = get_logger("departures")


@dataclass(slots=True)
class Departures:
    """Remembers each deleted ProjectSetup until its project is free."""

    attempts: Attempts
    record: ProjectRecord
    gate: DatabaseGate
    leader: Leader
    queue: WorkQueue
    _pending: dict[Key, set[str]] = field(default_factory=dict)

    def add(self, departed: Departed) -> None:
        """This ProjectSetup is no more."""
        self._pending.setdefault(departed.key, set()).add(departed.uid)
        self.queue.add(departed.key)

    def keys(self) -> list[Key]:
        """Where something is still to be freed."""
        return list(self._pending)

    async def settle(self, key: Key) -> bool:
        """Do what can be done now for what left `key`; False while some of it is still held."""
        try:
            project_id = UUID(key[1])
        except ValueError:
            self._pending.pop(key, None)
            return True
        for uid in list(self._pending.get(key, ())):
            if await self._settle_one(project_id, uid):
                self._pending[key].discard(uid)
        if self._pending.get(key):
            return False
        self._pending.pop(key, None)
        return True

    async def _settle_one(self, project_id: UUID, uid: str) -> bool:
        decision = decide_gone(self.attempts.view(project_id, uid))
        if isinstance(decision, StopRun):
            self.attempts.stop(project_id, decision.cause)
        if not isinstance(decision, ReleaseClaim) or self.gate.shut_because is not None:
            return False
        self.leader.check()
        try:
            if decision.ready_fence is not None:
                await self.record.finish(
                    project_id, decision.ready_fence, status=ProjectStatus.READY, setup_error=None, result={}
                )
            released = await self.record.release(project_id, uid)
        except DatabaseUnavailable as error:
            self.gate.shut(str(error))
            return False
        if released is not None:
            _log.info("the project of a deleted ProjectSetup is free", uid=uid)
        self.attempts.forget(project_id, uid)
        return True
