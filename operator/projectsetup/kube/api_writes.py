"""Tells of every write to the API server, whoever makes it, by a hook of the HTTP client."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import aiohttp

OnWrite = Callable[[str, str, str], None]
"""Takes the resource, such as `projectsetups/status`, the verb, and what became of it."""

_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_REFUSALS: Final[dict[int, str]] = {
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.UNAUTHORIZED: "unavailable",
    HTTPStatus.REQUEST_TIMEOUT: "unavailable",
    HTTPStatus.TOO_MANY_REQUESTS: "unavailable",
}
_PATH: Final = re.compile(r"/(?:api|apis/[^/]+)/[^/]+/(?:namespaces/[^/]+/)?([^/]+)(?:/[^/]+(?:/([^/]+))?)?/?$")


def trace_of_writes(on_write: OnWrite) -> aiohttp.TraceConfig:
    """What makes a session of aiohttp call `on_write` for each request that changes something."""

    async def ended(_session: object, _context: object, told: aiohttp.TraceRequestEndParams) -> None:
        if told.method in _VERBS:
            on_write(resource_of(told.url.path), _VERBS[told.method], result_of(told.response.status))

    async def failed(_session: object, _context: object, told: aiohttp.TraceRequestExceptionParams) -> None:
        if told.method in _VERBS:
            on_write(resource_of(told.url.path), _VERBS[told.method], "unavailable")

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(ended)
    trace.on_request_exception.append(failed)
    return trace


def resource_of(path: str) -> str:
    """The resource that a path of the API server names, with its subresource: never an object or a namespace."""
    found = _PATH.search(path)
    return "other" if found is None else "/".join(filter(None, found.groups()))


def result_of(status: int) -> str:
    """What an HTTP status means for who asked."""
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "unavailable"
    return _REFUSALS.get(status, "rejected")
