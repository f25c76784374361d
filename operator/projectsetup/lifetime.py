"""The lifetime of one operator process: it always watches, acts while it leads, and shuts down in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from projectsetup.controller.cache import Packed
from projectsetup.controller.controller import Controller
from projectsetup.controller.outcome import StopCause
from projectsetup.handlers import Watch
from projectsetup.intake.intake import Intake
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.kube.queue_watch import QueueConfigWatch
from projectsetup.observe.health import HealthServer
from projectsetup.observe.logs import get_logger

STOPPED, LOST = 0, 1
"""Exit codes of the operator: a clean shutdown, and a lost Lease."""

RESTART_DELAY = 1.0
"""Seconds before a background task that failed unexpectedly is restarted."""

_log = get_logger("operator")


async def _forever(task: str, work: Callable[[], Awaitable[None]]) -> None:
    """Restart the task when it fails: a bug must not leave the operator without it. A lost Lease ends it."""
    while True:
        try:
            await work()
        except LeaseLost:
            raise
        except Exception:  # noqa: BLE001  # whatever the error is, the operator needs the task
            _log.exception("unexpected error; restarting the task", task=task)
        await asyncio.sleep(RESTART_DELAY)


@dataclass(slots=True)
class Operator:
    """One operator process. At a clean shutdown, running attempts get `grace` seconds to end."""

    controller: Controller
    leader: Leader
    watch: Watch[Packed]
    health: HealthServer
    queue_config: QueueConfigWatch
    grace: float
    intake: Intake | None
    """None where no application may request setups in SQL."""
    expire_logs: Callable[[], Awaitable[None]]
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Run until SIGTERM, SIGINT or the loss of the Lease; return the exit code.

        Raises OSError if the HTTP port is taken.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await self.health.start()
        background = [
            asyncio.create_task(self._watch_after_list()),
            asyncio.create_task(_forever("database health", self.controller.database.watch)),
            asyncio.create_task(_forever("resync", self.controller.observe)),
            asyncio.create_task(_forever("queue settings", self.queue_config.run)),
        ]
        try:
            return await self._lead()
        finally:
            self.watch.close()
            for task in background:
                task.cancel()
            await asyncio.wait(background)
            await self.health.close()

    async def _watch_after_list(self) -> None:
        """Start the watch after the first list: both list everything, and together they would take twice as long."""
        await self.controller.listed.wait()
        self.watch.start()

    async def _lead(self) -> int:
        stopping = asyncio.create_task(self._stop.wait(), name="stop signal")
        acquiring = asyncio.create_task(self.leader.acquire(), name="acquire the Lease")
        await asyncio.wait({stopping, acquiring}, return_when=asyncio.FIRST_COMPLETED)
        if not acquiring.done():
            acquiring.cancel()
            return STOPPED
        await acquiring
        holding = asyncio.create_task(self.leader.hold(), name="hold the Lease")
        leading = asyncio.create_task(self.controller.lead(), name="lead")
        tasks: list[asyncio.Task[Any]] = [stopping, holding, leading]
        tasks.append(asyncio.create_task(_forever("log expiry", self.expire_logs), name="log expiry"))
        if self.intake is not None:
            tasks.append(asyncio.create_task(_forever("intake", self.intake.run), name="intake"))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                tasks.append(asyncio.create_task(self._drain(), name="drain"))
                await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks[1:]:
                if task.done():
                    task.result()
        except LeaseLost as lost:
            await self._give_up(lost, leading)
            return LOST
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await self.leader.release()
        return STOPPED

    async def _drain(self) -> None:
        _log.info("shutting down; no new attempts start", grace_seconds=self.grace)
        await self.controller.drain(self.grace)

    async def _give_up(self, lost: LeaseLost, leading: asyncio.Task[None]) -> None:
        """Stop the attempts before another operator can lead, and release them in the record if time allows."""
        _log.error("lost the leader lease; stopping attempts and exiting", why=str(lost))
        self.leader.allow_last_writes()
        leading.cancel()
        await asyncio.wait({leading})
        runs = self.controller.runs
        keys = runs.keys()
        await runs.kill_all(StopCause.LEASE_LOST)
        for key in keys:
            with contextlib.suppress(LeaseLost):
                await self.controller.reconciler.record_end(key)
