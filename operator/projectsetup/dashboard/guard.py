"""Who is let in: a browser of this machine that means this page, and no other page that uses the browser for it.

A page of another site can make a browser send requests here. By DNS rebinding, a name of that site that suddenly leads
to 127.0.0.1, it could even read the answers; so the Host must be ours. What changes something must come from a page of
ours besides: its Origin tells, and the token that only our pages hold.
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
    """Checks every request to the server at `port`."""

    def __init__(self, port: int) -> None:
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.token = secrets.token_urlsafe(32)
        """What a form has to send along."""

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A middleware: refuses a wrong Host with 421, and with 403 a change that no page of ours asked for."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            raise web.HTTPMisdirectedRequest(text="this is not the address of the dashboard\n")
        if request.method not in _SAFE:
            await self._check_change(request, hosts[0])
        return await handler(request)

    async def _check_change(self, request: web.Request, host: str) -> None:
        if request.headers.getall("Origin", []) != [f"http://{host}"]:
            raise web.HTTPForbidden(text="asked for by a page that is not of the dashboard\n")
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise web.HTTPForbidden(text="asked for by another site\n")
        token = (await request.post()).get("token")
        if not isinstance(token, str) or not secrets.compare_digest(token.encode(), self.token.encode()):
            raise web.HTTPForbidden(text="this page is of an earlier start of the dashboard: load it again\n")


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """To be called before every response is sent, errors too."""
    response.headers.update(HEADERS)
    response.headers.popall("Server", None)
