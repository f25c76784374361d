"""The web server of the dashboard, at the loopback address alone."""

from __future__ import annotations

import asyncio
import mimetypes
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from projectsetup.dashboard.actions import Action, Actions
from projectsetup.dashboard.guard import Guard, add_headers
from projectsetup.dashboard.rendering import Frame, Known, Notice, render_board, render_page, render_question
from projectsetup.dashboard.state import ClusterState
from projectsetup.dashboard.throughput import Window
from projectsetup.kube.errors import ClusterError
from projectsetup.kube.informer import ObjectKey

ADDRESS: Final = "127.0.0.1"
MOST_OF_A_FORM: Final = 4096
"""Bytes."""
NOTICE_LASTS: Final = timedelta(seconds=30)
_STATIC: Final = Path(__file__).parent / "static"

Render = Callable[[Frame, Known, Window, datetime], str]


class DashboardServer:
    """Shows `state`, and carries out `actions` where there are any."""

    def __init__(self, state: ClusterState, namespace: str | None, actions: Actions | None, *, port: int) -> None:
        """Take the port, for 0 one that is free; OSError when it cannot be had."""
        self._state = state
        self._socket = socket.create_server((ADDRESS, port))
        self.url = f"http://{ADDRESS}:{self._socket.getsockname()[1]}/"
        self._guard = Guard(self._socket.getsockname()[1])
        self._frame = Frame(namespace, self._guard.token if actions else None)
        self._actions = actions
        self._notice: Notice | None = None

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
        app = web.Application(middlewares=[self._guard.check], client_max_size=MOST_OF_A_FORM)
        app.on_response_prepare.append(add_headers)
        app.router.add_get("/", self._showing(render_page))
        app.router.add_get("/board", self._showing(render_board))
        for file in _STATIC.iterdir():
            app.router.add_get(f"/static/{file.name}", _serving(file))
        if self._actions is not None:
            app.router.add_post("/retry", self._acting(self._actions.retry))
            app.router.add_get("/cancel", self._ask)
            app.router.add_post("/cancel", self._acting(self._actions.cancel))
        return app

    def _showing(self, render: Render) -> Handler:
        async def show(request: web.Request) -> web.Response:
            now = datetime.now(UTC)
            known = Known(
                rows=await self._state.rows(),
                complete=self._state.complete,
                queue=self._state.queue,
                outage=self._state.outage,
                notice=self._notice if self._notice and now - self._notice.at < NOTICE_LASTS else None,
            )
            return _html(await asyncio.to_thread(render, self._frame, known, _window(request), now))

        return show

    async def _ask(self, request: web.Request) -> web.Response:
        """A page that asks back: on the board, rows move while one aims at them."""
        key = request.query.get("namespace", ""), request.query.get("name", "")
        row = next((row for row in await self._state.rows() if row.key == key), None)
        if row is None:
            raise _no_such(key)
        return _html(render_question(self._frame, row, datetime.now(UTC)))

    def _acting(self, action: Action) -> Handler:
        async def act(request: web.Request) -> web.Response:
            form = await request.post()
            key = str(form.get("namespace", "")), str(form.get("name", ""))
            if not self._state.has(key):
                raise _no_such(key)
            try:
                text, done = await action(*key), True
            except ClusterError as error:
                text, done = f"Not done: {error}", False
            self._notice = Notice(text, done, datetime.now(UTC))
            raise web.HTTPSeeOther("/")

        return act


def _window(request: web.Request) -> Window:
    try:
        return Window(request.query.get("window", Window.DAY))
    except ValueError as exc:
        raise web.HTTPBadRequest(text=f"window is one of {', '.join(Window)}\n") from exc


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")


def _no_such(key: ObjectKey) -> web.HTTPException:
    return web.HTTPNotFound(text="there is no ProjectSetup {}/{} on this page\n".format(*key))


def _serving(file: Path) -> Handler:
    content, kind = file.read_bytes(), mimetypes.guess_type(file.name)[0]

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind or "application/octet-stream", charset="utf-8")

    return serve
