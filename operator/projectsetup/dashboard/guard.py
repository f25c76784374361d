"""Access control: only a browser on this machine that shows our own page gets in, and no other site through it.

A page of another site can make a browser send requests here. By DNS rebinding, where a name of that site suddenly
resolves to 127.0.0.1, it could even read the answers; so the Host must be ours. A request that changes something must
also come from one of our pages: its Origin and the token that only our pages hold prove it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_SAFE: Final = frozenset({"GET", "HEAD"})


class Guard:
    """Checks every request to the server on `port`."""

    def __init__(self, port: int) -> None:
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.token = secrets.token_urlsafe(32)
        """The token that every form must send."""

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Middleware: refuse a wrong Host with 421, and a change that none of our pages requested with 403."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            raise web.HTTPMisdirectedRequest(text="wrong Host: use the address that the dashboard printed\n")
        if request.method not in _SAFE:
            await self._check_change(request, hosts[0])
        return await handler(request)

    async def _check_change(self, request: web.Request, host: str) -> None:
        if request.headers.getall("Origin", []) != [f"http://{host}"]:
            raise web.HTTPForbidden(text="wrong Origin: only pages of the dashboard may request this\n")
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise web.HTTPForbidden(text="cross-site requests are refused\n")
        token = (await request.post()).get("token")
        if not isinstance(token, str) or not secrets.compare_digest(token.encode(), self.token.encode()):
            raise web.HTTPForbidden(text="the dashboard was restarted: reload the page\n")


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to every response, errors included."""
    response.headers.update(HEADERS)
    response.headers.popall("Server", None)
