"""The board: what the API server tells of our Jobs and their pods, kept up to date by watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from kubernetes.aio.client import ApiClient

from projectsetup.kube.errors import ApiUnavailable, ClusterError
from projectsetup.kube.job_bodies import Body, version_of
from projectsetup.kube.job_store import JobStore, JobView, Kind
from projectsetup.kube.jobs import jobs_path, pods_path
from projectsetup.kube.raw import Lines, Query, RawApi
from projectsetup.observe.logs import get_logger
from projectsetup.observe.watch_age import LastHeard

CHECK_AFTER = 15.0
"""Seconds of silence after which a list shows whether there was nothing to tell."""
LAST_CHANCE = 1.0
"""Seconds that a watch has to tell of what a list has shown."""
WATCH_SECONDS = 300
RETRY_SECONDS, MOST_RETRY_SECONDS = 0.5, 15.0

_PATHS = {Kind.JOBS: jobs_path, Kind.PODS: pods_path}
_log = get_logger("jobs")


class JobBoard:
    """Our Jobs and pods in some namespaces, or in all; it begins again by itself whatever happens to a watch."""

    def __init__(
        self, streams: ApiClient, namespaces: tuple[str, ...], *, selector: str, check_after: float = CHECK_AFTER
    ) -> None:
        """`selector`: the labels that our Jobs and pods have."""
        api = RawApi(streams)
        self._store = JobStore()
        self._watches = [
            _Watch(api, self._store, kind, namespace, selector=selector, check_after=check_after)
            for namespace in namespaces or (None,)
            for kind in Kind
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to watch; this does not wait for the API server."""
        self._tasks = [asyncio.create_task(watch.run(), name=watch.what) for watch in self._watches]

    async def close(self) -> None:
        """Watch no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def complete(self) -> bool:
        """Whether everything was listed at least once."""
        return all(watch.listed for watch in self._watches)

    def age(self, kind: Kind) -> float:
        """Seconds since the watch of this kind was last known to be up to date, the oldest of several."""
        return max(watch.heard.seconds() for watch in self._watches if watch.kind is kind)

    def view(self, namespace: str, job_uid: str, on_change: Callable[[], None]) -> AbstractContextManager[JobView]:
        """Look at one Job and the pods that it controls, whether they are there yet or not."""
        return self._store.view(namespace, job_uid, on_change)

    def snapshot(self) -> list[tuple[Body, Sequence[Body]]]:
        """Every Job with its pods."""
        return self._store.snapshot()


class _Watch:
    """Lists and watches one kind, in one namespace or in all (None)."""

    def __init__(
        self, api: RawApi, store: JobStore, kind: Kind, namespace: str | None, *, selector: str, check_after: float
    ) -> None:
        self.what = f"watch {kind}" + (f" in {namespace}" if namespace is not None else "")
        self.kind = kind
        self.listed = False
        self.heard = LastHeard()
        self._api = api
        self._store = store
        self._namespace = namespace
        self._path = _PATHS[kind](namespace)
        self._query = {"labelSelector": selector}
        self._check_after = check_after
        self._pause = RETRY_SECONDS

    async def run(self) -> None:
        """Watch for ever; after every trouble all is listed anew."""
        while True:
            try:
                version = await self._list()
                while True:
                    version = await self._watch(version)
            except (ClusterError, ValueError, KeyError) as error:  # a watch may end in the middle of a line
                _log.warning(f"cannot {self.what}, trying again", error=" ".join(str(error).split())[:300])
                await asyncio.sleep(self._pause * random.uniform(1.0, 1.5))  # noqa: S311  # jitter needs no secrecy
                self._pause = min(self._pause * 2, MOST_RETRY_SECONDS)

    async def _list(self) -> str:
        found, version = await self._api.list_all(f"list {self.kind}", self._path, query=self._query)
        self._store.replace(self.kind, self._namespace, found)
        self.listed = True
        self.heard.now()
        return version

    async def _watch(self, version: str) -> str:
        """Returns when the API server has ended the watch in good order: the version to go on from."""
        query: Query = {
            **self._query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": random.randint(WATCH_SECONDS // 2, WATCH_SECONDS),  # noqa: S311  # not all at once
        }
        started_at, last_told = version, asyncio.get_running_loop().time() + WATCH_SECONDS + self._check_after
        async with self._api.stream(self.what, self._path, query=query) as pieces:
            lines = Lines(pieces)
            while (line := await self._next(lines, last_told)) is not None:
                version = self._tell(json.loads(line))
                self._pause = RETRY_SECONDS
        if version == started_at:  # a server that ends every watch at once is not to be asked all the time
            await asyncio.sleep(RETRY_SECONDS)
        return version

    async def _next(self, lines: Lines, deadline: float) -> bytes | None:
        """The next line; ApiUnavailable when the watch is silent although there would be something to tell."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._check_after):
                    return await lines.next()
            if asyncio.get_running_loop().time() >= deadline:
                raise ApiUnavailable("the watch does not end when it should")
            if await self._missed():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_CHANCE):
                        return await lines.next()
                raise ApiUnavailable("the watch is silent: it has missed changes that a list shows")

    async def _missed(self) -> bool:
        found, _ = await self._api.list_all(f"list {self.kind}", self._path, query=self._query, metadata_only=True)
        if not self._store.agrees(self.kind, self._namespace, found):
            return True
        self.heard.now()
        return False

    def _tell(self, event: Body) -> str:
        body = event["object"]
        match event["type"]:
            case "ADDED" | "MODIFIED":
                self._store.put(self.kind, body)
            case "DELETED":
                self._store.remove(self.kind, body)
            case "ERROR":
                raise ApiUnavailable(f"{body.get('code')} {body.get('message')}")
        self.heard.now()
        return version_of(body)
