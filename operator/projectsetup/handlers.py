"""The kopf handlers: they neither parse nor decide, they hand every event on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar, cast

import kopf

from projectsetup.api.constants import GROUP, PLURAL, VERSION
from projectsetup.kube.connection import in_pod, pod_server
from projectsetup.observe.logs import get_logger

Packed_contra = TypeVar("Packed_contra", contravariant=True)


class Sink(Protocol[Packed_contra]):
    """Takes an object, or its last state if it was deleted."""

    def __call__(self, seen: Packed_contra, *, deleted: bool) -> None:
        """Take the object."""


Packed = TypeVar("Packed")
IsNews = Callable[[Mapping[str, Any]], bool]
"""Takes the metadata of an object; False if it was seen before, or a later version of it."""


PAGE = 20
"""ProjectSetups in one page of a list: each may have 1.5 MiB, and takes several times that when decoded."""
RESTART_DELAY = 1.0
LOGIN_LIFETIME = timedelta(minutes=10)
"""How long a login is used before the credentials, which may have been rotated, are read again."""

_log = get_logger("watch")


class NoDiff(kopf.DiffBaseStorage):
    """Stores and compares nothing: only change handlers would need it."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:
        """Nothing."""

    def store(self, **_: Any) -> None:
        """Not at all."""


def register(registry: kopf.OperatorRegistry, seen: Callable[[kopf.RawEvent], None]) -> None:
    """Hand every event of a ProjectSetup to `seen`, whether listed, added, modified or deleted."""

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(**kwargs) if in_pod() else kopf.login_with_kubeconfig(**kwargs)
        if found is None:
            return None
        server = pod_server() if in_pod() else found.server
        return dataclasses.replace(found, server=server, expiration=datetime.now(UTC) + LOGIN_LIFETIME)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def hand_on(event: kopf.RawEvent, **_: Any) -> None:  # kopf would run a synchronous handler in a thread
        seen(event)


def watch_settings() -> kopf.OperatorSettings:
    """Settings with which kopf lists, watches and resumes, and writes nothing."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.networking.error_backoffs = itertools.repeat(1.0)
    settings.networking.connect_timeout = 5.0
    settings.watching.reconnect_backoff = 0.2
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = 0.1
    settings.persistence.diffbase_storage = NoDiff()
    return settings


class Watch(Generic[Packed]):
    """Runs kopf in a thread with its own event loop, and restarts it whenever it ends.

    In its own thread, kopf neither takes over our signal handlers nor cancels our tasks when it ends. Only what `pack`
    makes of an object waits for the sink, since objects may be large and many; an object that is no news, such as most
    of those that this operator has written itself, does not even wake the sink's thread.
    """

    def __init__(self, namespaces: tuple[str, ...], pack: Callable[[Mapping[str, Any]], Packed]) -> None:
        self._sink: Sink[Packed] | None = None
        self._is_news: IsNews = lambda _: True
        self._pack = pack
        self._loop = asyncio.get_running_loop()
        self._namespaces = namespaces
        self._stopping = threading.Event()
        self._end_run: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def deliver_to(self, sink: Sink[Packed], is_news: IsNews) -> None:
        """Hand each event to `sink`, in the event loop in which this watch was created.

        `is_news` is called before, in the thread of the watch, with the metadata of the object.
        """
        self._sink, self._is_news = sink, is_news

    def _seen(self, event: kopf.RawEvent) -> None:
        body, deleted = event["object"], event["type"] == "DELETED"
        if (sink := self._sink) is not None and (self._is_news(body["metadata"]) or deleted):
            packed = self._pack(body)
            with contextlib.suppress(RuntimeError):  # the loop is closed: this operator is exiting
                self._loop.call_soon_threadsafe(lambda: sink(packed, deleted=deleted))

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def restart(self) -> None:
        """End the current watch; another one starts with a full list."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: the watch has already ended
            self._end_run()

    def close(self) -> None:
        """End the watch for good."""
        self._stopping.set()
        self.restart()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._follow())
            except asyncio.CancelledError:
                _log.debug("watch cancelled; restarting it")
            except Exception as error:  # noqa: BLE001  # whatever ended the watch, it must restart
                _log.warning("watch ended; restarting it", error=" ".join(str(error).split())[:300])
            self._stopping.wait(RESTART_DELAY)

    async def _follow(self) -> None:
        """Watch until asked to end. The flag belongs to this loop: a thread waiting for it would outlive a failure."""
        registry, loop, ending = kopf.OperatorRegistry(), asyncio.get_running_loop(), asyncio.Event()
        register(registry, self._seen)
        self._end_run = lambda: loop.call_soon_threadsafe(ending.set)
        if self._stopping.is_set():
            return
        await kopf.operator(
            registry=registry,
            settings=watch_settings(),
            clusterwide=not self._namespaces,
            namespaces=list(self._namespaces),
            identity=cast("Any", "projectsetup"),  # else kopf looks up a user name, which a pod may lack
            stop_flag=ending,
        )
