"""The loop of the leading operator: observations in, keys out, workers that reconcile them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from projectsetup.controller.cache import Change, Deleted, Packed, ResourceCache, pack
from projectsetup.controller.cleanup import Cleanup
from projectsetup.controller.database_health import DatabaseHealth
from projectsetup.controller.outcome import StopCause
from projectsetup.controller.ports import Body, Cluster
from projectsetup.controller.reconciler import Reconciler
from projectsetup.controller.runs import Runs
from projectsetup.controller.slots import Slots
from projectsetup.controller.workqueue import Key, WorkQueue
from projectsetup.engines.base import CurrentRun
from projectsetup.kube.errors import ApiNotFound, ClusterError
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.observe.logs import about_setup, get_logger
from projectsetup.observe.metrics import Metrics
from projectsetup.observe.watch_age import WatchAge
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.record import ProjectRecord
from projectsetup.setup.types import InfrastructureError

WORKERS = 8
"""How many keys are reconciled at once."""
RESYNC_PERIOD = 30.0
"""Seconds between two resyncs with a full list, which find what the watch has missed."""
RESYNC_REST = 5
"""After a resync that takes long, as with large objects, the next one waits this many times its duration."""
FIRST_PASS_LIMIT = 30.0
"""Seconds for which slots wait until all have been reconciled once: slow keys must not block the others forever."""
FIRST_PASS_SPACING = 0.001
"""Seconds between two setups that have ended, when all are reconciled for the first time."""
FIRST_RETRY, LAST_RETRY = 0.5, 15.0
"""Seconds before a failed key is reconciled again: doubled from the first to the last."""
REPORT_LIMIT = 8.0
"""Seconds that a clean shutdown waits for the last ends to be reported to database and API server."""

_log = get_logger("controller")


@dataclass(slots=True)
class Controller:
    """Always feeds the queue from the watch; works on it while this operator leads."""

    cache: ResourceCache
    cluster: Cluster
    record: ProjectRecord
    database: DatabaseHealth
    runs: Runs
    cleanup: Cleanup
    slots: Slots
    queue: WorkQueue
    reconciler: Reconciler
    leader: Leader
    metrics: Metrics
    watch_age: WatchAge
    namespaces: tuple[str, ...]
    restart_watch: Callable[[], None]
    leading: bool = False
    api_problem: str | None = "not listed yet"
    """Why the last list of ProjectSetups failed; None if it succeeded."""
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once ProjectSetups have been listed."""
    queue_is_known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the queue settings, paused and concurrency, have been read."""
    _must_restart_watch: bool = False
    _first_pass: asyncio.TimerHandle | None = None
    """Ends the wait for the first pass over all keys."""
    _failures: dict[Key, int] = field(default_factory=dict)
    _resyncing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_news(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the watch reports more with this object than the cache has; may be called in the watch's thread."""
        self.watch_age.delivered(int(metadata["resourceVersion"]))
        return not self.cache.has_seen(metadata)

    def seen(self, seen: Packed, *, deleted: bool) -> None:
        """Take in what the watch reported: an object, or its last state if it was deleted."""
        self._take_in(self.cache.remove(seen.key, uid=seen.uid) if deleted else self.cache.apply(seen))

    def grant_slots(self) -> None:
        """Grant free slots, unless nothing could start anyway."""
        if self.database.problem is None:
            for key in self.slots.grant():
                self.queue.add(key)

    def database_recovered(self) -> None:
        """Reconcile all that waited before the first of them starts, so that the start order holds."""
        self._reconcile_all(self.cleanup.keys())

    async def observe(self) -> None:
        """Resync with a full list at first and then periodically, forever, whether this operator leads or not."""
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            try:
                await self._resync()
            except ClusterError as error:
                await self._list_failed(error)
            else:
                await asyncio.sleep(max(RESYNC_PERIOD, RESYNC_REST * (clock() - started)))

    async def lead(self) -> None:
        """Work until cancelled. Raises LeaseLost if this operator must exit.

        It resyncs before the first decision, and reconciles everything before any attempt starts.
        """
        self.leading = True
        while True:
            try:
                await self._resync()
                break
            except ClusterError as error:
                await self._list_failed(error)
        await self.queue_is_known.wait()
        self._reconcile_all()
        for number, key in enumerate(self.cache):  # spread out, so that new events come first
            self.queue.add(key, delay=number * FIRST_PASS_SPACING)
        try:
            await self._work()
        except ExceptionGroup as failed:
            lost = failed.subgroup(LeaseLost)
            if lost is None:
                raise
            raise LeaseLost(str(lost.exceptions[0])) from failed

    async def drain(self, grace: float) -> None:
        """Start nothing new, give running attempts `grace` seconds, stop the rest, and report their ends.

        Attempts that outlive the operator are left running at once.
        """
        self.slots.closed = True
        if not self.runs.outlive_operator:
            await self._until_reported(grace, "running attempts")
        self.runs.stop_all(StopCause.SHUTDOWN)
        while self.runs.running and not self.runs.outlive_operator:
            await self.runs.changed()
        await self._until_reported(REPORT_LIMIT, "reports of ended attempts")

    async def _until_reported(self, limit: float, what: str) -> None:
        try:
            async with asyncio.timeout(limit):
                while self.runs.keys():
                    await self.runs.changed()
        except TimeoutError:
            _log.info("stopped waiting", waiting_for=what, seconds=limit)

    def _reconcile_all(self, others: Iterable[Key] = ()) -> None:
        """Reconcile all that may start or run before the first of them starts. Suspended setups cannot start."""
        keys = [*(entry.key for entry in self.cache.unfinished() if not entry.suspended), *others]
        if self.leading:
            self.slots.expect(keys)
            if self._first_pass is not None:
                self._first_pass.cancel()
            self._first_pass = asyncio.get_running_loop().call_later(FIRST_PASS_LIMIT, self._end_first_pass)
            for key in keys:
                self.queue.add(key)

    def _end_first_pass(self) -> None:
        if missed := self.slots.stop_expecting():
            _log.warning("not all ProjectSetups were reconciled in time; granting slots without them", missed=missed)
            self.grant_slots()

    async def _list_failed(self, error: ClusterError) -> None:
        self.api_problem = str(error)
        self._must_restart_watch = self._must_restart_watch or isinstance(error, ApiNotFound)
        _log.warning("cannot list ProjectSetups; retrying", error=str(error))
        await asyncio.sleep(FIRST_RETRY)

    async def _resync(self) -> None:
        """Find what the watch has missed, and claims whose owner was deleted.

        The claims are read before the list: an owner that is missing from the list was deleted and is not just new.
        """
        async with self._resyncing:
            try:
                owned = await self.record.owned() if self.database.problem is None else ()
            except DatabaseUnavailable as error:
                self.database.mark_down(str(error))
                owned = ()
            listed = await self._list()
            self._after_list()
            if self.leading:
                await self._collect_garbage()
            for project in owned:
                owner = project.owner
                if owner is None or owner.uid in listed:
                    continue
                if self.leading and (not self.namespaces or owner.namespace in self.namespaces):
                    self.cleanup.add(Deleted(owner.uid, (owner.namespace, owner.name)))

    async def _list(self) -> set[str]:
        """Take in all ProjectSetups and return their uids. Only those that the cache does not have are read whole."""
        uids: set[str] = set()
        missed: list[Key] = []
        newest = 0
        known = self.listed.is_set()

        def take(body: Body) -> None:
            nonlocal newest
            metadata = body["metadata"]
            uids.add(metadata["uid"])
            newest = max(newest, int(metadata["resourceVersion"]))
            if not known:
                self._take_in(self.cache.apply(pack(body)))
            elif not self.cache.has_seen(metadata):
                missed.append((metadata["namespace"], metadata["name"]))

        version = await self.cluster.visit(self.namespaces, take, metadata_only=known)
        for key in missed:
            if (body := await self.cluster.find(*key)) is not None:
                self._take_in(self.cache.apply(pack(body)))
        for change in self.cache.retain(uids, list_version=version):
            self._take_in(change)
        self.watch_age.listed(newest)
        return uids

    async def _collect_garbage(self) -> None:
        """End runs that nobody follows: their ProjectSetup was deleted, or reports another run."""
        try:
            await self.runs.collect_garbage(self._current_run)
        except (InfrastructureError, LeaseLost) as error:
            _log.warning("cannot collect orphaned runs", error=str(error))

    def _current_run(self, namespace: str, name: str) -> CurrentRun | None:
        self.leader.check()
        entry = self.cache.entry((namespace, name))
        return None if entry is None else CurrentRun(entry.uid, entry.run_name, entry.is_over)

    def _after_list(self) -> None:
        """Restart the watch if it started before the CRD existed, or has gone silent."""
        self.api_problem = None
        self.listed.set()
        if self._must_restart_watch or self.watch_age.silent:
            _log.warning("restarting the watch", silent=self.watch_age.silent)
            self.restart_watch()
        self._must_restart_watch = False

    def _take_in(self, change: Change | None) -> None:
        if change is None or not self.leading:
            return
        if change.deleted is not None:
            self.cleanup.add(change.deleted)
        self.queue.add(change.key)

    async def _work(self) -> None:
        """Reconcile what is due. One task takes all keys from the queue, so that each key wakes only one task."""
        free = asyncio.Semaphore(WORKERS)
        async with asyncio.TaskGroup() as workers:
            workers.create_task(self.reconciler.facts.dependencies.watch())
            while True:
                await free.acquire()
                key = await self.queue.take()
                workers.create_task(self._reconcile(key)).add_done_callback(lambda _: free.release())

    async def _reconcile(self, key: Key) -> None:
        try:
            with about_setup(key):
                await self._try_reconcile(key)
        finally:
            self.queue.done(key)
            self.slots.reconciled(key)
            self.grant_slots()

    async def _try_reconcile(self, key: Key) -> None:
        try:
            await self.cleanup.clean_up(key)
            await self.reconciler.reconcile(key)
        except LeaseLost:
            raise
        except ClusterError as error:
            self._retry(key, str(error))
        except Exception:  # noqa: BLE001  # one key must not end the work on all others
            _log.exception("unexpected error while reconciling")
            self._retry(key, "internal error")
        else:
            self._failures.pop(key, None)

    def _retry(self, key: Key, why: str) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(FIRST_RETRY * 2 ** min(failures - 1, 10), LAST_RETRY)
        _log.warning("requeueing", error=why, seconds=delay)
        self.metrics.reconcile_failed()
        self.queue.add(key, delay=delay)
