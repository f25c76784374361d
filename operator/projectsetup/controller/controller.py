"""The loop of the operator that leads: events in, keys out, workers that reconcile them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from projectsetup.controller.attempts import Attempts
from projectsetup.controller.database_gate import DatabaseGate
from projectsetup.controller.departures import Departures
from projectsetup.controller.facts import StopCause
from projectsetup.controller.ports import Body, Cluster
from projectsetup.controller.queue import Key, StartLine, WorkQueue
from projectsetup.controller.reconciler import Reconciler
from projectsetup.controller.store import Change, Departed, Packed, ResourceStore, pack
from projectsetup.engines.base import CurrentRun
from projectsetup.kube.errors import ApiNotFound, ClusterError
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.observe.logs import about_setup, get_logger
from projectsetup.observe.metrics import Metrics
from projectsetup.observe.watch_age import WatchAge
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.record import ProjectRecord
from projectsetup.setup.errors import InfrastructureError

AT_ONCE = 8
"""How many keys are looked at at once."""
COMPARE_PERIOD = 30.0
"""Seconds between two comparisons with a full list, which find what the watch has missed."""
COMPARE_REST = 5
"""A comparison that takes long, as one of large objects does, is followed by this many times its duration."""
FIRST_LOOK_LIMIT = 30.0
"""Seconds for which no slot is given until all were looked at: one team's must not keep the others waiting for ever."""
LOOK_APART = 0.001
"""Seconds between the first looks at two setups that are over."""
FIRST_RETRY, LAST_RETRY = 0.5, 15.0
"""Seconds before a key is looked at again after the API server has failed it: doubled from the first to the last."""

_log = get_logger("controller")


@dataclass(slots=True)
class Controller:
    """Feeds the queue from the watch always, and works on it while this operator leads."""

    store: ResourceStore
    cluster: Cluster
    record: ProjectRecord
    gate: DatabaseGate
    attempts: Attempts
    departures: Departures
    line: StartLine
    queue: WorkQueue
    reconciler: Reconciler
    leader: Leader
    metrics: Metrics
    watch_age: WatchAge
    namespaces: tuple[str, ...]
    restart_watch: Callable[[], None]
    leading: bool = False
    api_problem: str | None = "not listed yet"
    """Why ProjectSetups could not be listed last; None when they could."""
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when ProjectSetups were listed once."""
    queue_is_known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is known whether the queue is paused, and how wide it is."""
    _restart_watch: bool = False
    _first_looks: asyncio.TimerHandle | None = None
    """Ends the wait for first looks."""
    _failures: dict[Key, int] = field(default_factory=dict)
    _comparing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def seen(self, seen: Packed, *, deleted: bool) -> None:
        """The watch tells of an object, as it is or as it was when it was deleted."""
        self.watch_age.delivered(seen.version)
        self._take_in(self.store.remove(seen.key, uid=seen.uid) if deleted else self.store.apply(seen))

    def give_slots(self) -> None:
        """Give the free slots to the first in line, unless nothing could start anyway."""
        if self.gate.shut_because is None:
            for key in self.line.give_slots():
                self.queue.add(key)

    def database_is_back(self) -> None:
        """Everything that waited is looked at before the first of them starts, so that the start order holds."""
        self._look_at_all(self.departures.keys())

    async def observe(self) -> None:
        """Compare with a full list at first and now and then, for ever, whether this operator leads or stands by."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                await self._compare()
            except ClusterError as error:
                await self._cannot_list(error)
            else:
                await asyncio.sleep(max(COMPARE_PERIOD, COMPARE_REST * (clock() - began)))

    async def lead(self) -> None:
        """Work until cancelled. LeaseLost when this operator must not go on.

        What there is is learned anew before the first decision, and all of it is looked at before anything starts.
        """
        self.leading = True
        while True:
            try:
                await self._compare()
                break
            except ClusterError as error:
                await self._cannot_list(error)
        await self.queue_is_known.wait()
        self._look_at_all()
        for number, key in enumerate(self.store):  # the others, little by little: what is new comes first
            self.queue.add(key, delay=number * LOOK_APART)
        try:
            await self._work()
        except ExceptionGroup as failed:
            lost = failed.subgroup(LeaseLost)
            if lost is None:
                raise
            raise LeaseLost(str(lost.exceptions[0])) from failed

    async def drain(self, grace: float) -> None:
        """Start nothing new, give running attempts `grace` seconds, stop the rest, and see their ends told.

        Attempts that outlive the operator are left running at once.
        """
        self.line.closed = True
        if not self.attempts.outlive_operator:
            await self._until_told(grace, "running attempts")
        self.attempts.stop_all(StopCause.SHUTDOWN)
        while self.attempts.running and not self.attempts.outlive_operator:
            await self.attempts.changed()
        await self._until_told(TELL_LIMIT, "the ends of attempts to be told")

    async def _until_told(self, limit: float, what: str) -> None:
        try:
            async with asyncio.timeout(limit):
                while self.attempts.keys():
                    await self.attempts.changed()
        except TimeoutError:
            _log.info("waited long enough", waited_for=what, seconds=limit)

    def _look_at_all(self, others: Iterable[Key] = ()) -> None:
        """Look at all that may start or run, before the first of them starts. What is suspended cannot."""
        keys = [*(kept.key for kept in self.store.unfinished() if not kept.suspended), *others]
        if self.leading:
            self.line.await_first_look(keys)
            if self._first_looks is not None:
                self._first_looks.cancel()
            self._first_looks = asyncio.get_running_loop().call_later(FIRST_LOOK_LIMIT, self._stop_awaiting)
            for key in keys:
                self.queue.add(key)

    def _stop_awaiting(self) -> None:
        if missed := self.line.stop_awaiting():
            _log.warning("not all were looked at in time; slots are given without them", missed=missed)
            self.give_slots()

    async def _cannot_list(self, error: ClusterError) -> None:
        self.api_problem = str(error)
        self._restart_watch = self._restart_watch or isinstance(error, ApiNotFound)
        _log.warning("cannot list ProjectSetups, trying again", error=str(error))
        await asyncio.sleep(FIRST_RETRY)

    async def _compare(self) -> None:
        """Find what the watch has missed, and claims whose owner is gone.

        The claims are read before the list: an owner that is not in the list then is gone and not just new.
        """
        async with self._comparing:
            try:
                owned = await self.record.owned() if self.gate.shut_because is None else ()
            except DatabaseUnavailable as error:
                self.gate.shut(str(error))
                owned = ()
            there = await self._list()
            self._after_list()
            if self.leading:
                await self._collect_garbage()
            for project in owned:
                owner = project.owner
                if owner is None or owner.uid in there or (self.namespaces and owner.namespace not in self.namespaces):
                    continue
                if self.leading:
                    self.departures.add(Departed(owner.uid, (owner.namespace, owner.name)))

    async def _list(self) -> set[str]:
        """Take in what there is; the uids of it. What was taken in already is not asked for as a whole again."""
        there: set[str] = set()
        missed: list[Key] = []
        newest = 0
        known = self.listed.is_set()

        def take(body: Body) -> None:
            nonlocal newest
            metadata = body["metadata"]
            there.add(metadata["uid"])
            newest = max(newest, int(metadata["resourceVersion"]))
            if not known:
                self._take_in(self.store.apply(pack(body)))
            elif not self.store.has_seen(metadata):
                missed.append((metadata["namespace"], metadata["name"]))

        version = await self.cluster.list_resources(self.namespaces, take, metadata_only=known)
        for key in missed:
            if (body := await self.cluster.get_resource(*key)) is not None:
                self._take_in(self.store.apply(pack(body)))
        for change in self.store.keep(there, list_version=version):
            self._take_in(change)
        self.watch_age.listed(newest)
        return there

    async def _collect_garbage(self) -> None:
        """End what goes on without anybody to follow it: its ProjectSetup is gone, or tells of another run."""
        try:
            await self.attempts.collect_garbage(self._current_run)
        except (InfrastructureError, LeaseLost) as error:
            _log.warning("cannot look for what nobody follows", error=str(error))

    def _current_run(self, namespace: str, name: str) -> CurrentRun | None:
        """What the ProjectSetup tells of its run."""
        self.leader.check()
        kept = self.store.kept((namespace, name))
        return None if kept is None else CurrentRun(kept.uid, kept.run_name, kept.over)

    def _after_list(self) -> None:
        """Begin the watch again when it began before the CRD was there, or has gone silent."""
        self.api_problem = None
        self.listed.set()
        if self._restart_watch or self.watch_age.silent:
            _log.warning("the watch begins again", silent=self.watch_age.silent)
            self.restart_watch()
        self._restart_watch = False

    def _take_in(self, change: Change | None) -> None:
        if change is None or not self.leading:
            return
        if change.departed is not None:
            self.departures.add(change.departed)
        self.queue.add(change.key)

    async def _work(self) -> None:
        """Look at what is due. One task takes it from the queue for all: each key wakes one and not several."""
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as looks:
            looks.create_task(self.reconciler.facts.dependencies.watch())
            while True:
                await room.acquire()
                key = await self.queue.take()
                looks.create_task(self._look_at(key)).add_done_callback(lambda _: room.release())

    async def _look_at(self, key: Key) -> None:
        try:
            with about_setup(key):
                await self._look(key)
        finally:
            self.queue.done(key)
            self.line.looked_at(key)
            self.give_slots()

    async def _look(self, key: Key) -> None:
        try:
            await self.departures.settle(key)
            await self.reconciler.reconcile(key)
        except LeaseLost:
            raise
        except ClusterError as error:
            self._try_again(key, str(error))
        except Exception:  # noqa: BLE001  # one key must not end the work on all others
            _log.exception("reconcile failed in a way it should not")
            self._try_again(key, "internal error")
        else:
            self._failures.pop(key, None)

    def _try_again(self, key: Key, why: str) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(FIRST_RETRY * 2 ** min(failures - 1, 10), LAST_RETRY)
        _log.warning("will look again", error=why, seconds=delay)
        self.metrics.reconcile_failed()
        self.queue.add(key, delay=delay)


TELL_LIMIT = 8.0
"""Seconds that the database and the API server have at a clean end to be told of the last ends."""
