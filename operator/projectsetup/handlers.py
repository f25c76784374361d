"""The kopf handlers: they parse nothing and decide nothing, they hand every event on."""

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
    """Takes an object, as it is or as it was when it was deleted."""

    def __call__(self, seen: Packed_contra, *, deleted: bool) -> None:
        """Take it in."""


Packed = TypeVar("Packed")


PAGE = 20
"""ProjectSetups that are listed at once: each may be of 1.5 MiB, and takes several times that when it is decoded."""
RESTART_DELAY = 1.0
LOGIN_LIFETIME = timedelta(minutes=10)
"""How long a login is used, so that a rotated token is read again."""

_log = get_logger("watch")


class NoDiff(kopf.DiffBaseStorage):
    """Nothing is remembered of an object, and nothing compared: only change handlers would need it."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:
        """Nothing."""

    def store(self, **_: Any) -> None:
        """Not at all."""


def register(registry: kopf.OperatorRegistry, seen: Callable[[kopf.RawEvent], None]) -> None:
    """Hand each event of a ProjectSetup to `seen`: listed, added, modified and deleted ones alike."""

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(**kwargs) if in_pod() else kopf.login_with_kubeconfig(**kwargs)
        if found is None:
            return None
        server = pod_server() if in_pod() else found.server
        return dataclasses.replace(found, server=server, expiration=datetime.now(UTC) + LOGIN_LIFETIME)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def hand_on(event: kopf.RawEvent, **_: Any) -> None:  # kopf runs what is not async in more threads
        seen(event)


def watch_settings() -> kopf.OperatorSettings:
    """kopf as we use it: it watches, lists and resumes, and writes nothing."""
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
    """Runs kopf in a thread with an event loop of its own, and again whenever it ends by itself.

    In a thread of its own it neither takes over our signals nor cancels our tasks when it ends. What `pack` makes of
    an object is all that waits for the sink: objects may be large, and many.
    """

    def __init__(self, namespaces: tuple[str, ...], pack: Callable[[Mapping[str, Any]], Packed]) -> None:
        self._sink: Sink[Packed] | None = None
        self._pack = pack
        self._loop = asyncio.get_running_loop()
        self._namespaces = namespaces
        self._stopping = threading.Event()
        self._end_run: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def tell(self, sink: Sink[Packed]) -> None:
        """Hand each event to `sink`, in the event loop in which this watch was made."""
        self._sink = sink

    def _seen(self, event: kopf.RawEvent) -> None:
        if (sink := self._sink) is not None:
            packed, deleted = self._pack(event["object"]), event["type"] == "DELETED"
            with contextlib.suppress(RuntimeError):  # the loop is closed: this operator has ended
                self._loop.call_soon_threadsafe(lambda: sink(packed, deleted=deleted))

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def restart(self) -> None:
        """End the running watch; another begins with a full list."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended by itself
            self._end_run()

    def close(self) -> None:
        """End the watch; it does not come back."""
        self._stopping.set()
        self.restart()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._follow())
            except asyncio.CancelledError:
                _log.debug("the watch was cancelled, it begins again")
            except Exception as error:  # noqa: BLE001  # whatever ends the watch, it must begin again
                _log.warning("the watch ended, it begins again", error=" ".join(str(error).split())[:300])
            self._stopping.wait(RESTART_DELAY)

    async def _follow(self) -> None:
        """Watch until told to end. The flag is one of this loop: a thread that waits for it would outlive a failure."""
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
            identity=cast("Any", "projectsetup"),  # else kopf asks for a user name, which a pod may lack
            stop_flag=ending,
        )
