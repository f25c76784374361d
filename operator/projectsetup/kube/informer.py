"""Keeping up with a collection of the API server: list it in pages, watch it, list it again after an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Generic, TypeVar

from projectsetup.kube.client import Body, Lines, Query, RestClient
from projectsetup.kube.errors import ApiExpired, ApiUnavailable, ClusterError

CHECK_AFTER: Final = 15.0
"""Seconds without an event after which the collection is listed, to see whether the watch has missed something."""
LAST_CHANCE: Final = 1.0
"""Seconds that the watch then has to deliver what it seems to have missed."""
WATCH_SECONDS: Final = 300
"""The longest watch; its actual length is random, so that not all watches end at once."""
RETRY_DELAY: Final = 0.5
MAX_RETRY_DELAY: Final = 15.0
"""Seconds between two attempts: the delay doubles with each failure, and falls back with the first event."""

T = TypeVar("T")
ObjectKey = tuple[str, str]
"""Namespace and name."""


class Action(StrEnum):
    """What an informer was doing when it failed."""

    LIST = "list"
    WATCH = "watch"


OnError = Callable[[Action, ClusterError], None]
"""Is called for each failure before the informer retries; raising an exception ends the informer with it."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What to list and watch; `title` stands in error texts, `query` holds the selectors."""

    title: str
    path: str
    query: Query = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One object that was added (`before` is None), changed, or deleted (`after` is None)."""

    key: ObjectKey
    before: T | None
    """As it was; a deleted object as it was last seen."""
    after: T | None


class Informer(Generic[T]):
    """Mirrors one collection in `objects` and reports each change; one `run` at a time.

    - `keep` makes what is kept of an object. It is called once for each version, so `objects` keeps the same value for
      as long as the object does not change, and memory is bounded by what `keep` returns.
    - A watch continues where the last one ended. After an error, and when the resourceVersion has expired (410), the
      collection is listed again, after a delay that grows to `max_retry_delay` with each failure.
    - A watch that stays open but delivers nothing is noticed: after `check_after` seconds of silence the metadata is
      listed and compared.
    - `on_error` is called for every failure and may end the informer by raising, for instance where rights are missing;
      otherwise the informer retries for ever. `Action` says whether the list or the watch failed.
    """

    def __init__(
        self,
        client: RestClient,
        collection: Collection,
        *,
        keep: Callable[[Body], T],
        on_error: OnError,
        check_after: float = CHECK_AFTER,
        max_retry_delay: float = MAX_RETRY_DELAY,
    ) -> None:
        self._client = client
        self._collection = collection
        self._keep = keep
        self._on_error = on_error
        self._check_after = check_after
        self._max_retry_delay = max_retry_delay
        self._retry_delay = min(RETRY_DELAY, max_retry_delay)
        self._objects: dict[ObjectKey, T] = {}
        self._versions: dict[ObjectKey, str] = {}
        self._position = ""
        self.listed = False
        """Whether the collection was listed at least once."""
        self._clock = asyncio.get_running_loop().time
        self._heard_at = self._clock()

    @property
    def objects(self) -> Mapping[ObjectKey, T]:
        """All objects as last seen, empty until the first list; the mapping changes in place."""
        return self._objects

    def silence(self) -> float:
        """Seconds since the mirror was last known to be up to date, or since it was made."""
        return self._clock() - self._heard_at

    async def run(self, on_change: Callable[[Sequence[Change[T]]], bool]) -> None:
        """Call `on_change` after each list, even if nothing changed, and after each event, until it returns True.

        `objects` is up to date by then. What `on_change` and `on_error` raise ends the informer; it can be run again.
        """
        async with aclosing(self._changes()) as batches:
            async for changes in batches:
                if on_change(changes):
                    return

    async def _changes(self) -> AsyncGenerator[Sequence[Change[T]]]:
        while True:
            action = Action.LIST
            try:
                yield await self._list()
                action = Action.WATCH
                while True:
                    async with aclosing(self._watch()) as events:
                        async for changes in events:
                            yield changes
            except ApiExpired as error:
                if self._retry_delay > RETRY_DELAY:  # once is normal
                    self._on_error(action, ApiUnavailable(str(error)))
            except ClusterError as error:
                self._on_error(action, error)
            except (ValueError, KeyError) as error:  # a watch may be cut off in the middle of a line
                text = f"{action} {self._collection.title}: the answer is incomplete: {error}"
                self._on_error(action, ApiUnavailable(text))
            await asyncio.sleep(self._retry_delay * random.uniform(1.0, 1.5))  # noqa: S311  # jitter needs no secrecy
            self._retry_delay = min(self._retry_delay * 2, self._max_retry_delay)

    async def _list(self) -> Sequence[Change[T]]:
        objects: dict[ObjectKey, T] = {}
        versions: dict[ObjectKey, str] = {}
        what, path, query = f"list {self._collection.title}", self._collection.path, self._collection.query
        async for page in self._client.pages(what, path, query=query):
            for body in page["items"]:
                key, version = _key(body), _version(body)
                unchanged = self._versions.get(key) == version
                objects[key] = self._objects[key] if unchanged else self._keep(body)
                versions[key] = version
            self._position = page["metadata"]["resourceVersion"]
        gone = [Change(key, kept, None) for key, kept in self._objects.items() if key not in objects]
        changed = [
            Change(key, self._objects.get(key), kept)
            for key, kept in objects.items()
            if self._versions.get(key) != versions[key]
        ]
        self._objects.clear()
        self._objects.update(objects)
        self._versions = versions
        self.listed = True
        self._heard_at = self._clock()
        return [*gone, *changed]

    async def _watch(self) -> AsyncGenerator[Sequence[Change[T]]]:
        """Yield the changes until the API server ends the watch in good order."""
        query: Query = {
            **self._collection.query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._position,
            "timeoutSeconds": random.randint(WATCH_SECONDS // 2, WATCH_SECONDS),  # noqa: S311  # jitter, no secret
        }
        started_at = self._position
        deadline = asyncio.get_running_loop().time() + WATCH_SECONDS + self._check_after
        what = f"watch {self._collection.title}"
        async with self._client.stream(what, self._collection.path, query=query) as pieces:
            lines = Lines(pieces)
            while (line := await self._next(lines, deadline)) is not None:
                if changes := self._take(json.loads(line)):
                    yield changes
        if self._position == started_at:  # some servers end every watch at once
            await asyncio.sleep(RETRY_DELAY)

    async def _next(self, lines: Lines, deadline: float) -> bytes | None:
        """Return the next line; raise ApiUnavailable when the watch is silent although something has changed."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._check_after):
                    return await lines.next()
            if asyncio.get_running_loop().time() >= deadline:
                raise ApiUnavailable(f"watch {self._collection.title}: it did not end in time")
            if await self._has_missed_something():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_CHANCE):
                        return await lines.next()
                raise ApiUnavailable(f"watch {self._collection.title}: it is silent and has missed changes")

    async def _has_missed_something(self) -> bool:
        what, query = f"list {self._collection.title}", self._collection.query
        versions: dict[ObjectKey, str] = {}
        async for page in self._client.pages(what, self._collection.path, query=query, metadata_only=True):
            versions |= {_key(body): _version(body) for body in page["items"]}
        if versions != self._versions:
            return True
        self._heard_at = self._clock()
        return False

    def _take(self, event: Body) -> Sequence[Change[T]]:
        kind, body = event["type"], event["object"]
        if kind == "ERROR":
            message = " ".join(str(body.get("message")).split())[:300]
            text = f"watch {self._collection.title}: {body.get('code')} {message}"
            raise ApiExpired(text) if body.get("code") == HTTPStatus.GONE else ApiUnavailable(text)
        self._position = _version(body)
        self._retry_delay = min(RETRY_DELAY, self._max_retry_delay)
        self._heard_at = self._clock()
        if kind == "BOOKMARK":
            return ()
        key = _key(body)
        if kind == "DELETED":
            self._versions.pop(key, None)
            self._objects.pop(key, None)
            return (Change(key, self._keep(body), None),)
        if self._versions.get(key) == self._position:
            return ()
        before, kept = self._objects.get(key), self._keep(body)
        self._versions[key], self._objects[key] = self._position, kept
        return (Change(key, before, kept),)


def _key(body: Body) -> ObjectKey:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _version(body: Body) -> str:
    return str(body["metadata"]["resourceVersion"])
