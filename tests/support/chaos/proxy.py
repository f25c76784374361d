"""A proxy of the API server that delays, drops and refuses requests, and records writes and watches."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import aiohttp
import yaml
from aiohttp import web

from devcluster.ports import free_port
from tests.support.operator_process import wait_for

STATUSES: Final = (409, 410, 429, 500, 503)
LONGEST_DELAY: Final = 1.5
LONGEST_WATCH: Final = 2.0
_KEPT: Final = ("Authorization", "Content-Type", "Accept")
_EXPIRED: Final = {
    "type": "ERROR",
    "object": {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": "Expired",
        "message": "too old resource version",
        "code": 410,
    },
}


@dataclass(slots=True)
class Faults:
    """The share of requests to disturb, and how often each fault occurred."""

    rng: random.Random
    share: float = 0.0
    silent: bool = False
    """Watches stay open and deliver nothing."""
    no_watch: bool = False
    """New watches are refused with 410."""
    counts: Counter[str] = field(default_factory=Counter)

    def pick(self, kinds: tuple[str, ...], share: float) -> str:
        """Choose one of `kinds` for a `share` of the calls, and no fault ("") for the others."""
        if self.rng.random() >= share:
            return ""
        kind = self.rng.choice(kinds)
        self.counts[kind] += 1
        return kind


class Proxy:
    """Forwards to the API server of `kubeconfig` while it is entered. `path` is the kubeconfig of the proxy."""

    def __init__(self, kubeconfig: Path, folder: Path, rng: random.Random) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._upstream = cluster["server"]
        authority = folder / "ca.crt"
        authority.write_bytes(base64.b64decode(cluster.pop("certificate-authority-data")))
        self._ssl = ssl.create_default_context(cafile=str(authority))
        self._port = free_port()
        cluster["server"] = f"http://127.0.0.1:{self._port}"
        self.path = folder / "kubeconfig"
        self.path.write_text(yaml.safe_dump(config))
        self.faults = Faults(rng)
        self.written: list[str] = []
        """Method and path of every request that changed something."""
        self.watched: list[str] = []
        """Path of every watch that began."""
        self._open = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(self._open.is_set, "the proxy to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join()

    async def _serve(self) -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(None)) as session:
            handler = web.Server(lambda request: self._answer(session, request))
            runner = web.ServerRunner(handler, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            self._open.set()
            await stopped.wait()
            await runner.cleanup()

    async def _answer(self, session: aiohttp.ClientSession, request: web.BaseRequest) -> web.StreamResponse:
        watches = request.query.get("watch") in {"true", "True", "1"}
        if watches and self.faults.no_watch:
            self.faults.counts[f"no watch of {request.path}"] += 1
            return _refusal(410)
        if watches:  # few requests are watches, so they fail twice as often
            kind = self.faults.pick(("delay", "refused", "expired"), min(2 * self.faults.share, 1.0))
        else:
            kind = self.faults.pick(("delay", "refused", "lost", "broken"), self.faults.share)
        match kind:
            case "refused":
                return _refusal(self.faults.rng.choice(STATUSES))
            case "expired":
                return web.json_response(_EXPIRED)
            case "delay":
                await asyncio.sleep(self.faults.rng.uniform(0.0, LONGEST_DELAY))
        try:
            return await self._forward(session, request, kind, watches=watches)
        except (aiohttp.ClientError, OSError):
            return _cut(request)

    async def _forward(
        self, session: aiohttp.ClientSession, request: web.BaseRequest, kind: str, *, watches: bool
    ) -> web.StreamResponse:
        url, body = self._upstream + request.raw_path, await request.read() or None
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        async with session.request(request.method, url, data=body, headers=headers) as answer:
            if request.method != "GET" and answer.ok:
                self.written.append(f"{request.method} {request.path}")
            match kind:  # the write succeeded, but the client does not learn it
                case "lost":
                    return _refusal(503)
                case "broken":
                    return _cut(request)
            if watches and answer.ok:
                return await self._forward_watch(request, answer)
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def _forward_watch(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Forward a watch; while there are faults, cut it soon."""
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        await response.prepare(request)
        self.watched.append(request.path)
        try:
            async with asyncio.timeout(self.faults.rng.uniform(0.0, LONGEST_WATCH) if self.faults.share else None):
                async for piece in answer.content.iter_any():
                    if not self.faults.silent:
                        await response.write(piece)
        except TimeoutError:
            self.faults.counts["cut"] += 1
            await response.write(b'{"type": "MODIF')
            return _cut(request, response)
        return response


def _refusal(status: int) -> web.Response:
    message = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "injected fault", "code": status}
    return web.json_response(message, status=status, headers={"Retry-After": "1"} if status == 429 else {})


def _cut(request: web.BaseRequest, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Abort the connection in mid-response."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()
