"""The web server of the dashboard, on the loopback address only."""

from __future__ import annotations

import asyncio
import mimetypes
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from projectsetup.dashboard.guard import Guard, add_headers
from projectsetup.dashboard.rendering import (
    ActionResult,
    Frame,
    Snapshot,
    render_board,
    render_page,
    render_question,
)
from projectsetup.dashboard.rows import address_of
from projectsetup.dashboard.setup_pages import LogSources, SetupPages
from projectsetup.dashboard.state import ClusterState
from projectsetup.dashboard.throughput import Window
from projectsetup.kube.errors import ClusterError
from projectsetup.kube.informer import ObjectKey

ADDRESS: Final = "127.0.0.1"
MAX_FORM: Final = 4096
"""Bytes."""
RESULT_SHOWN_FOR: Final = timedelta(seconds=30)
_STATIC: Final = Path(__file__).parent / "static"

Action = Callable[[str, str], Awaitable[str]]
"""Requests something for the ProjectSetup of this namespace and name; returns its effect in one line.

Raises ClusterError.
"""


@dataclass(frozen=True, slots=True)
class Actions:
    """What the buttons do."""

    retry: Action
    cancel: Action


Render = Callable[[Frame, Snapshot, Window, datetime], str]


class DashboardServer:
    """Shows `state`, and carries out `actions` where there are any."""

    def __init__(
        self,
        state: ClusterState,
        namespace: str | None,
        sources: LogSources,
        actions: Actions | None,
        *,
        port: int,
    ) -> None:
        """Bind the port (0: any free one); OSError if that fails."""
        self._state = state
        self._socket = socket.create_server((ADDRESS, port))
        self.url = f"http://{ADDRESS}:{self._socket.getsockname()[1]}/"
        self._guard = Guard(self._socket.getsockname()[1])
        self._frame = Frame(namespace, self._guard.token if actions else None)
        self._actions = actions
        self._result: ActionResult | None = None
        self._setup_pages = SetupPages(state, self._frame, sources, self._recent_result)

    async def run(self) -> None:
        """Serve until cancelled."""
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.SockSite(runner, self._socket).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard.check], client_max_size=MAX_FORM)
        app.on_response_prepare.append(add_headers)
        app.router.add_get("/", self._showing(render_page))
        app.router.add_get("/board", self._showing(render_board))
        self._setup_pages.add_to(app)
        for file in _STATIC.iterdir():
            app.router.add_get(f"/static/{file.name}", _serving(file))
        if self._actions is not None:
            app.router.add_post("/retry", self._acting(self._actions.retry))
            app.router.add_get("/cancel", self._ask)
            app.router.add_post("/cancel", self._acting(self._actions.cancel))
        return app

    def _showing(self, render: Render) -> Handler:
        async def show(request: web.Request) -> web.Response:
            now, search = datetime.now(UTC), request.query.get("q", "").strip()
            snapshot = Snapshot(
                rows=[row for row in await self._state.rows() if row.matches(search)],
                complete=self._state.complete,
                queue=self._state.queue,
                outage=self._state.outage,
                result=self._recent_result(),
                search=search,
            )
            return _html(await asyncio.to_thread(render, self._frame, snapshot, _window(request), now))

        return show

    def _recent_result(self) -> ActionResult | None:
        result = self._result
        return result if result and datetime.now(UTC) - result.at < RESULT_SHOWN_FOR else None

    async def _ask(self, request: web.Request) -> web.Response:
        """Ask to confirm: rows move on the page while somebody aims at a button."""
        key = request.query.get("namespace", ""), request.query.get("name", "")
        row = next((row for row in await self._state.rows() if row.key == key), None)
        if row is None:
            raise _no_such(key)
        return _html(render_question(self._frame, row, datetime.now(UTC), on_page="page" in request.query))

    def _acting(self, action: Action) -> Handler:
        async def act(request: web.Request) -> web.Response:
            form = await request.post()
            key = str(form.get("namespace", "")), str(form.get("name", ""))
            if not self._state.has(key):
                raise _no_such(key)
            try:
                text, done = await action(*key), True
            except ClusterError as error:
                text, done = f"Failed: {error}", False
            self._result = ActionResult(text, done, datetime.now(UTC))
            row = next((row for row in await self._state.rows() if row.key == key), None)
            raise web.HTTPSeeOther(address_of(row) if row and "page" in form else "/")

        return act


def _window(request: web.Request) -> Window:
    try:
        return Window(request.query.get("window", Window.DAY))
    except ValueError as exc:
        raise web.HTTPBadRequest(text=f"window must be one of {', '.join(Window)}\n") from exc


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")


def _no_such(key: ObjectKey) -> web.HTTPException:
    return web.HTTPNotFound(text="ProjectSetup {}/{} is not on this page\n".format(*key))


def _serving(file: Path) -> Handler:
    content, kind = file.read_bytes(), mimetypes.guess_type(file.name)[0]

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind or "application/octet-stream", charset="utf-8")

    return serve
