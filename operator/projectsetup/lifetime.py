"""The life of one operator process: it watches always, acts while it leads, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from projectsetup.controller.controller import Controller
from projectsetup.controller.facts import StopCause
from projectsetup.controller.store import Packed
from projectsetup.handlers import Watch
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.kube.queue_watch import QueueConfigWatch
from projectsetup.observe.health import HealthServer
from projectsetup.observe.logs import get_logger

STOPPED, LOST = 0, 1
"""Exit codes of the operator: a clean end, and the end of one that lost the Lease."""

BEGIN_AGAIN = 1.0
"""Seconds after which a part begins again that has failed in a way it should not."""

_log = get_logger("operator")


async def _for_ever(part: str, work: Callable[[], Awaitable[None]]) -> None:
    """A bug in one part must not leave the operator without it until somebody wonders."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001  # whatever it is, it is logged, and the part is needed
            _log.exception("a part failed in a way it should not, it begins again", part=part)
        await asyncio.sleep(BEGIN_AGAIN)


@dataclass(slots=True)
class Operator:
    """One operator process; `grace` is what running attempts get at a clean end, in seconds."""

    controller: Controller
    leader: Leader
    watch: Watch[Packed]
    health: HealthServer
    queue_config: QueueConfigWatch
    grace: float
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until the Lease is lost; the exit code. OSError: the HTTP port is taken."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await self.health.start()
        background = [
            asyncio.create_task(self._watch_after_list()),
            asyncio.create_task(_for_ever("database gate", self.controller.gate.watch)),
            asyncio.create_task(_for_ever("comparison with full lists", self.controller.observe)),
            asyncio.create_task(_for_ever("queue control", self.queue_config.run)),
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
        """The watch lists as well: at the same time, both would take twice as long."""
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
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                tasks.append(asyncio.create_task(self._drain(), name="drain"))
                await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            for task in (holding, leading):
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
        _log.info("ending: nothing new is started", grace_seconds=self.grace)
        await self.controller.drain(self.grace)

    async def _give_up(self, lost: LeaseLost, leading: asyncio.Task[None]) -> None:
        """Stop the attempts before another operator can lead, and give them back in the record if there is time."""
        _log.error("this operator no longer leads: its attempts are stopped, it ends", why=str(lost))
        self.leader.allow_last_word()
        leading.cancel()
        await asyncio.wait({leading})
        attempts = self.controller.attempts
        keys = attempts.keys()
        await attempts.kill_all(StopCause.LEASE_LOST)
        for key in keys:
            with contextlib.suppress(LeaseLost):
                await self.controller.reconciler.record_alone(key)
