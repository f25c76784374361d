"""Stores the log of a running attempt in the database, at most once a second and without making its steps wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from projectsetup.api.steps import StepTime
from projectsetup.kube.leader import LeaseLost
from projectsetup.observe.logs import get_logger
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.logs import LogRow
from projectsetup.setup.log import StoredLog, StoredRow

if TYPE_CHECKING:
    from projectsetup.engines.base import Adoption, AttemptSpec
    from projectsetup.kube.leader import Leader
    from projectsetup.projects.logs import LogHead, RowSize, SetupLogs
    from projectsetup.setup.log import AttemptLog, LogBatch

INTERVAL: Final = 1.0
"""Seconds between two writes of one log."""
SHARE: Final = 20
"""A log is written again no sooner than after so many times what its last batch took to prepare."""
RETRY: Final = 1.0
"""Seconds until the database is tried again."""
END_LIMIT: Final = 2.0
"""Seconds that the end of an attempt waits for its log."""
GIVE_UP_AFTER: Final = 300.0
"""Seconds after the end of an attempt in which its log is still stored once the database answers."""
EXPIRY_INTERVAL: Final = 3600.0
EXPIRY_PAUSE: Final = 0.2
"""Seconds between two searches for expired logs, and between two deletions."""

_log = get_logger("logs")


@dataclass(slots=True)
class LogWriter:
    """Stores the log of one attempt, which the engine fills."""

    logs: SetupLogs
    log: AttemptLog
    attempt: AttemptSpec | Adoption
    started_at: datetime
    leader: Leader
    _output: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _begun: bool = False
    _spent: float = 0.0

    def __post_init__(self) -> None:
        self.log.on_output = self._output.set

    async def run(self) -> None:
        """Store what comes until the attempt has ended and all is stored, or until a later claim continues the log."""
        with contextlib.suppress(LeaseLost):
            is_last = False
            while await self._store() and not is_last:
                await self._output.wait()
                self._output.clear()
                await _elapsed(self._ended, max(INTERVAL, SHARE * self._spent))
                is_last = self._ended.is_set()

    async def restore(self) -> None:
        """Read what another operator has stored of the log, before the engine continues it. Raises LeaseLost."""
        while True:
            try:
                self.leader.check()
                stored = await self.logs.resume(self.attempt.run_name, self.attempt.fence)
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY)
                continue
            if stored is not None:
                self.log.restore(_stored_log(*stored))
            return

    async def end(self, writing: asyncio.Task[None], *, left_running: bool) -> None:
        """Return once all is stored, or after END_LIMIT; `run` then continues for a while.

        `left_running`: the attempt continues, and the next operator reads on.
        """
        if not left_running:
            self.log.close()
        self._ended.set()
        self._output.set()
        await asyncio.wait({writing}, timeout=END_LIMIT)

    async def _store(self) -> bool:
        """Store what is new; False: somebody else continues the log, or the database did not answer for too long."""
        clock = asyncio.get_running_loop().time
        began = clock()
        batch = self.log.take()
        self._spent = clock() - began
        if batch is None:
            return True
        while True:
            try:
                self.leader.check()
                stored = await self._append(batch)
                break
            except DatabaseUnavailable as error:
                if self._ended.is_set() and clock() - began > GIVE_UP_AFTER:
                    _log.warning("the end of the log is lost", error=str(error))
                    return False
                await asyncio.sleep(RETRY)
        self.log.stored()
        self._begun = True
        return stored

    async def _append(self, batch: LogBatch) -> bool:
        return await self.logs.append(
            run_name=self.attempt.run_name,
            project_id=self.attempt.project_id,
            attempt=self.attempt.number,
            started_at=self.started_at,
            fence=self.attempt.fence,
            rows=[LogRow(row.number, row.step, row.at, row.text) for row in batch.rows],
            steps=[step.to_dict() for step in batch.steps],
            position=batch.position,
            tail_from=batch.tail_from,
            keep_from=batch.keep_from,
            lines_left_out=batch.lines_left_out,
            forget_older=not self._begun,
        )


async def expire_logs(logs: SetupLogs, retention: timedelta, leader: Leader) -> None:
    """Delete logs once nothing was added to them for so long, a few at a time."""
    while True:
        try:
            leader.check()
            while await logs.expire(datetime.now(UTC) - retention):
                await asyncio.sleep(EXPIRY_PAUSE)
                leader.check()
        except DatabaseUnavailable as error:
            _log.debug("expired logs stay for now", error=str(error))
        await asyncio.sleep(EXPIRY_INTERVAL)


async def _elapsed(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _stored_log(head: LogHead, sizes: Sequence[RowSize]) -> StoredLog:
    tail_from = head.tail_from
    in_tail = [size for size in sizes if tail_from is not None and size.number >= tail_from]
    return StoredLog(
        next_row=sizes[-1].number + 1 if sizes else 0,
        head_bytes=sum(size.size for size in sizes[: len(sizes) - len(in_tail)]),
        tail_from=tail_from,
        tail=tuple(StoredRow(size.number, size.size, size.lines) for size in in_tail),
        lines_left_out=head.lines_left_out,
        steps=tuple(StepTime.from_dict(step) for step in head.steps),
        position=head.position,
    )
