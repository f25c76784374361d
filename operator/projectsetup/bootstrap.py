"""The one composition root: builds the operator from its settings and runs it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes.aio.client import ApiClient

from projectsetup.cluster.connection import pod_namespace
from projectsetup.cluster.leader import Leader, LeaseLost
from projectsetup.cluster.queue_config import QueueConfigWatch, QueueControl
from projectsetup.control.attempts import Attempts, Engine
from projectsetup.control.controller import Controller
from projectsetup.control.database_gate import DatabaseGate
from projectsetup.control.departures import Departures
from projectsetup.control.facts import StopCause
from projectsetup.control.facts_reader import FactsReader
from projectsetup.control.ports import Cluster
from projectsetup.control.queue import StartLine, WorkQueue
from projectsetup.control.reconciler import Reconciler
from projectsetup.control.store import ResourceStore
from projectsetup.handlers import Watch
from projectsetup.observe.health import HealthServer
from projectsetup.observe.logs import get_logger
from projectsetup.observe.metrics import Metrics
from projectsetup.observe.watch_age import WatchAge
from projectsetup.projects.record import ProjectRecord
from projectsetup.recipes.loader import RecipeBook
from projectsetup.settings import Settings

STOPPED, LOST = 0, 1
"""Exit codes of the operator: a clean end, and the end of one that lost the Lease."""

_log = get_logger("operator")


@dataclass(slots=True)
class Ports:
    """The operator's dealings with the outside, each real in production."""

    cluster: Cluster
    record: ProjectRecord
    engine: Engine
    leader: Leader


class Operator:
    """One operator process: watches always, acts while it leads."""

    def __init__(self, settings: Settings, api: ApiClient, ports: Ports, scrub: Callable[[str], str]) -> None:
        self._settings = settings
        self._api = api
        self._ports = ports
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._metrics = Metrics()
        self._watch_age = WatchAge()
        self._watch = Watch(self._seen, settings.namespaces)
        self._controller = self._compose(scrub)

    def _compose(self, scrub: Callable[[str], str]) -> Controller:
        ports, settings, store, queue = self._ports, self._settings, ResourceStore(), WorkQueue()
        line = StartLine(settings.concurrency)
        gate = DatabaseGate(ports.record.ping, on_open=lambda: self._controller.database_is_back())
        attempts = Attempts(
            ports.engine, ports.record, ports.leader, on_change=lambda key: self._controller.look_at(key)
        )
        facts = FactsReader(
            cluster=ports.cluster,
            record=ports.record,
            gate=gate,
            recipes=RecipeBook(settings.recipes_dir),
            attempts=attempts,
            line=line,
            engine=ports.engine.name,
            allow_file_repos=settings.allow_file_repos,
        )
        reconciler = Reconciler(
            store=store,
            facts=facts,
            cluster=ports.cluster,
            record=ports.record,
            gate=gate,
            attempts=attempts,
            line=line,
            queue=queue,
            leader=ports.leader,
            metrics=self._metrics,
            scrub=scrub,
            on_departed=lambda departed: self._controller.departed(departed),
        )
        return Controller(
            store=store,
            cluster=ports.cluster,
            record=ports.record,
            gate=gate,
            attempts=attempts,
            departures=Departures(attempts, ports.record, gate, ports.leader),
            line=line,
            queue=queue,
            reconciler=reconciler,
            metrics=self._metrics,
            watch_age=self._watch_age,
            namespaces=settings.namespaces,
            restart_watch=self._watch.restart,
        )

    def _seen(self, body: Mapping[str, Any], deleted: bool) -> None:  # the sink of the watch
        """Called in the watch's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: this operator has ended
            self._loop.call_soon_threadsafe(lambda: self._controller.seen(body, deleted=deleted))

    def _control_queue(self, control: QueueControl) -> None:
        line = self._controller.line
        line.paused = control.paused
        line.capacity = self._settings.concurrency if control.concurrency is None else control.concurrency
        self._controller.give_slots()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until the Lease is lost; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        namespace = self._settings.operator_namespace or pod_namespace() or "default"
        queue_config = QueueConfigWatch(self._api, namespace, on_change=self._control_queue)
        health = HealthServer(self._settings.http_port, checks=self._checks(), metrics=self._metrics.render)
        await health.start()
        self._watch.start()
        background = [
            asyncio.create_task(self._controller.gate.watch(), name="database gate"),
            asyncio.create_task(self._controller.observe(), name="comparison with full lists"),
            asyncio.create_task(queue_config.run(), name="queue control"),
        ]
        try:
            return await self._lead()
        finally:
            self._watch.close()
            for task in background:
                task.cancel()
            await asyncio.wait(background)
            await health.close()

    def _checks(self) -> dict[str, Callable[[], str | None]]:
        return {
            "database": lambda: self._controller.gate.shut_because,
            "api server": lambda: self._controller.api_problem,
            "watch": lambda: "silent: it has missed changes that a list shows" if self._watch_age.silent else None,
        }

    async def _lead(self) -> int:
        stopping = asyncio.create_task(self._stop.wait(), name="stop signal")
        acquiring = asyncio.create_task(self._ports.leader.acquire(), name="acquire the Lease")
        await asyncio.wait({stopping, acquiring}, return_when=asyncio.FIRST_COMPLETED)
        if not acquiring.done():
            acquiring.cancel()
            return STOPPED
        await acquiring
        holding = asyncio.create_task(self._ports.leader.hold(), name="hold the Lease")
        leading = asyncio.create_task(self._controller.lead(), name="lead")
        try:
            await asyncio.wait({stopping, holding, leading}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                draining = asyncio.create_task(self._drain(), name="drain")
                await asyncio.wait({draining, holding, leading}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (holding, leading):
                if ended.done():
                    ended.result()
        except LeaseLost as lost:
            await self._give_up(lost, leading)
            return LOST
        finally:
            for task in (stopping, holding, leading):
                task.cancel()
            await asyncio.wait({stopping, holding, leading})
        await self._ports.leader.release()
        return STOPPED

    async def _drain(self) -> None:
        _log.info("ending: nothing new is started", grace=str(self._settings.shutdown_grace))
        await self._controller.drain(self._settings.shutdown_grace.total_seconds())

    async def _give_up(self, lost: LeaseLost, leading: asyncio.Task[None]) -> None:
        """Stop the attempts before another operator can lead, and give them back in the record if there is time."""
        _log.error("this operator no longer leads: its attempts are stopped, it ends", why=str(lost))
        leading.cancel()
        await asyncio.wait({leading})
        attempts = self._controller.attempts
        keys = attempts.keys()
        await attempts.kill_all(StopCause.LEASE_LOST)
        for key in keys:
            with contextlib.suppress(LeaseLost):
                await self._controller.reconciler.record_alone(key)


async def run_operator(settings: Settings) -> int:
    """Build and run the operator with everything real; the exit code."""
    raise NotImplementedError
