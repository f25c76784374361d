"""A collection of the API server in memory, with the interface of `RestClient`."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from projectsetup.kube.client import Body, Query, RestClient
from projectsetup.kube.errors import ClusterError

NAMESPACE: Final = "team-a"
PAGE: Final = 2
END: Final = b""


class FakeCollection(RestClient):
    """`put` and `delete` change the collection; the other attributes make it misbehave."""

    def __init__(self) -> None:
        self.objects: dict[str, Body] = {}
        self.version = 10
        self.requests: list[str] = []
        """`list`, `check` (metadata only), `watch from VERSION`, and the calls."""
        self.times: list[float] = []
        self.fail_lists: list[ClusterError] = []
        self.fail_watches: list[ClusterError] = []
        self.deaf = False
        """Open watches stay open and deliver nothing."""
        self.ends_at_once = False
        self._watches: list[asyncio.Queue[bytes]] = []

    @property
    def open_watches(self) -> int:
        return len(self._watches)

    def put(self, name: str, **fields: Any) -> Body:
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.version += 1
        metadata = {"namespace": NAMESPACE, "name": name, "uid": f"uid-{name}", "resourceVersion": str(self.version)}
        self.objects[name] = {**fields, "metadata": metadata | fields.get("metadata", {})}
        self.send(kind, self.objects[name])
        return self.objects[name]

    def delete(self, name: str, **fields: Any) -> None:
        self.version += 1
        body = copy.deepcopy(self.objects.pop(name)) | fields
        body["metadata"]["resourceVersion"] = str(self.version)
        self.send("DELETED", body)

    def bookmark(self) -> None:
        self.version += 1
        self.send("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def send(self, kind: str, body: Body) -> None:
        self.send_raw(json.dumps({"type": kind, "object": body}).encode() + b"\n")

    def send_raw(self, piece: bytes) -> None:
        for watch in self._watches if not self.deaf else ():
            watch.put_nowait(piece)

    def end_watches(self) -> None:
        self.send_raw(END)

    async def call(self, what: str, method: str, path: str, **_: Any) -> Body:
        self._note(what)
        raise NotImplementedError(f"{method} {path}")

    async def pages(self, what: str, path: str, *, query: Query, metadata_only: bool = False) -> AsyncGenerator[Body]:
        del what, path, query
        self._note("check" if metadata_only else "list")
        if self.fail_lists:
            raise self.fail_lists.pop(0)
        bodies = copy.deepcopy([*self.objects.values()])
        for first in range(0, max(len(bodies), 1), PAGE):
            yield {"metadata": {"resourceVersion": str(self.version)}, "items": bodies[first : first + PAGE]}

    @asynccontextmanager
    async def stream(self, what: str, path: str, *, query: Query) -> AsyncIterator[AsyncIterator[bytes]]:
        del what, path
        self._note(f"watch from {query['resourceVersion']}")
        if self.fail_watches:
            raise self.fail_watches.pop(0)
        watch: asyncio.Queue[bytes] = asyncio.Queue()
        if self.ends_at_once:
            watch.put_nowait(END)
        self._watches.append(watch)
        try:
            yield _Pieces(watch)
        finally:
            self._watches.remove(watch)

    def _note(self, what: str) -> None:
        self.requests.append(what)
        self.times.append(asyncio.get_running_loop().time())


class _Pieces:
    """The pieces of a stream; unlike a generator, it survives a cancelled wait for the next piece."""

    def __init__(self, watch: asyncio.Queue[bytes]) -> None:
        self._watch = watch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if (piece := await self._watch.get()) == END:
            raise StopAsyncIteration
        return piece
