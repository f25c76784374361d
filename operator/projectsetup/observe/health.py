"""/metrics, /healthz and /readyz."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

Check = Callable[[], str | None]
"""Returns one line that says what is wrong, or None."""


class HealthServer:
    """`/healthz`: the process is alive. `/readyz`: it can work, or take over as leader. `/metrics`: Prometheus."""

    def __init__(self, port: int, *, checks: Mapping[str, Check], metrics: Callable[[], bytes]) -> None:
        self._port = port
        self._checks = checks
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Start listening. Raises OSError if the port is taken."""
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
        problems = {name: check() for name, check in self._checks.items()}
        text = "".join(f"{name}: {problem or 'ok'}\n" for name, problem in problems.items())
        return web.Response(text=text, status=503 if any(problems.values()) else 200)

    async def _render(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4"})
