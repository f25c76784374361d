"""/metrics, /healthz and /readyz."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

Check = Callable[[], str | None]
"""None when all is well, else what is wrong in one line."""


class HealthServer:
    """`/healthz` says that the process works, `/readyz` that it can do its job or take it over."""

    def __init__(self, port: int, *, checks: Mapping[str, Check], metrics: Callable[[], bytes]) -> None:
        self._port = port
        self._checks = checks
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._render)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        told = {name: check() for name, check in self._checks.items()}
        text = "".join(f"{name}: {wrong or 'ok'}\n" for name, wrong in told.items())
        return web.Response(text=text, status=503 if any(told.values()) else 200)

    async def _render(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4"})
