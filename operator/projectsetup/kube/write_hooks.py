"""What happens around every write request of a client: a check before it is sent, a report once it is answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection

Check = Callable[[], None]
"""Raises when nothing may be written now."""
OnWrite = Callable[[str, str, str], None]
"""Takes the resource, such as `projectsetups/status`, the verb, and the result."""

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RESULTS: Final[dict[int, str]] = {
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.UNAUTHORIZED: "unavailable",
    HTTPStatus.REQUEST_TIMEOUT: "unavailable",
    HTTPStatus.TOO_MANY_REQUESTS: "unavailable",
}
_PATH: Final = re.compile(r"/(?:api|apis/[^/]+)/[^/]+/(?:namespaces/[^/]+/)?([^/]+)(?:/[^/]+(?:/([^/]+))?)?/?$")


def guarded(check: Check) -> type[aiohttp.ClientRequest]:
    """Return the request class of a session that calls `check` at the moment when a write request leaves.

    However long the request has waited for a connection, it is not sent when `check` raises.
    """

    class GuardedRequest(aiohttp.ClientRequest):
        async def send(self, conn: Connection) -> aiohttp.ClientResponse:
            """Send the request, or begin to: `write_bytes` sends one with a body in its own task."""
            self._check()
            return await super().send(conn)

        async def write_bytes(
            self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
        ) -> None:
            """Send headers and body, or close the connection, which the caller sees as an error."""
            try:
                self._check()
            except Exception:  # noqa: BLE001  # whatever the reason, nothing may be written
                conn.close()
            else:
                await super().write_bytes(writer, conn, content_length)

        def _check(self) -> None:
            if self.method not in _READING:
                check()

    return GuardedRequest


def trace_of_writes(on_write: OnWrite) -> aiohttp.TraceConfig:
    """Return the trace configuration of a session that calls `on_write` for each write request."""

    async def ended(_session: object, _context: object, request: aiohttp.TraceRequestEndParams) -> None:
        if request.method in _VERBS:
            on_write(resource_of(request.url.path), _VERBS[request.method], result_of(request.response.status))

    async def failed(_session: object, _context: object, request: aiohttp.TraceRequestExceptionParams) -> None:
        if request.method in _VERBS:
            on_write(resource_of(request.url.path), _VERBS[request.method], "unavailable")

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(ended)
    trace.on_request_exception.append(failed)
    return trace


def resource_of(path: str) -> str:
    """Return the resource that a path names, with its subresource but without object and namespace."""
    found = _PATH.search(path)
    return "other" if found is None else "/".join(filter(None, found.groups()))


def result_of(status: int) -> str:
    """Return the class of an HTTP status."""
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "unavailable"
    return _RESULTS.get(status, "rejected")
