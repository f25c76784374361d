"""Plain JSON calls to the API server, with every foreign error translated into a `ClusterError`.

The Kubernetes client's own models are too slow for large collections, so only its transport is used.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from projectsetup.kube.errors import (
    ApiConflict,
    ApiExpired,
    ApiForbidden,
    ApiNoRoom,
    ApiNotFound,
    ApiNotInstalled,
    ApiRejected,
    ApiUnavailable,
    ClusterError,
)

TIMEOUT = 10.0
"""Seconds that a call may take, and that a stream may take to begin."""
PAGE, FIRST_PAGE = 200, 10
"""Most objects on a page of a collection, and on its first page."""
LARGEST_PAGE = 4 * 1024 * 1024
"""Bytes of a page: decoded it takes several times that."""

Body = dict[str, Any]
"""An object of the API server as JSON."""
Query = Mapping[str, str | int]

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_LIMITED = aiohttp.ClientTimeout(total=TIMEOUT)
_UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT)


class _TooLarge(Exception):
    """The answer is larger than allowed; the rest of it was not read."""


class RestClient:
    """One connection pool; every error is a `ClusterError` whose text begins with `what`, such as "get Job a/b"."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def call(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Body | None = None,
        content_type: str = _JSON,
    ) -> Body:
        """Make one call and return its answer; for a PATCH, `content_type` says which kind of patch it is."""
        headers = {"Accept": _JSON, "Content-Type": content_type}
        request = self._request(method, path, query=query or {}, body=body, headers=headers, limits=_LIMITED)
        return _decoded(what, await _answer(what, request))

    async def list_all(
        self, what: str, path: str, *, query: Query, metadata_only: bool = False
    ) -> tuple[list[Body], str]:
        """Return all objects of a collection and its resourceVersion, read from etcd and not from a cache."""
        found: list[Body] = []
        version = ""
        async for page in self.pages(what, path, query=query, metadata_only=metadata_only):
            found += page["items"]
            version = page["metadata"]["resourceVersion"]
        return found, version

    async def pages(self, what: str, path: str, *, query: Query, metadata_only: bool = False) -> AsyncGenerator[Body]:
        """Yield a collection page by page, as `list_all` reads it; `limit` in the query is the longest page.

        Pages are limited in bytes as well: the larger the objects, the shorter the pages.
        """
        headers = {"Accept": _METADATA if metadata_only else _JSON, "Content-Type": _JSON}
        longest = int(query.get("limit", PAGE))
        limit = min(FIRST_PAGE, longest)
        token = ""
        while True:
            page_query = {**query, "limit": limit} | ({"continue": token} if token else {})
            request = self._request("GET", path, query=page_query, body=None, headers=headers, limits=_LIMITED)
            try:
                text = await _answer(what, request, largest=LARGEST_PAGE if limit > 1 else None)
            except _TooLarge:
                limit //= 2
                continue
            limit = max(min(2 * limit, longest, limit * LARGEST_PAGE // 2 // len(text)), 1)
            page = _decoded(what, text)
            del text
            token = page["metadata"].get("continue") or ""
            yield {**page, "items": page.get("items") or []}  # null for none
            if not token:
                return

    @asynccontextmanager
    async def stream(self, what: str, path: str, *, query: Query) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open an answer that has no end of its own, such as a log or a watch, and yield its pieces as they arrive."""
        with translated(what):
            async with asyncio.timeout(TIMEOUT):
                response = await self._request(
                    "GET", path, query=query, body=None, headers={"Accept": "*/*"}, limits=_UNLIMITED
                )
                if not response.ok:
                    raise _refusal(response, (await response.read()).decode(errors="replace"))
            try:
                yield response.content.iter_any()
            finally:
                response.close()

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Query,
        body: Body | None,
        headers: dict[str, str],
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        configuration = self._api.configuration
        token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        answer = await self._api.call_api(
            method,
            f"{configuration.host}{path}" + (f"?{urlencode(query)}" if query else ""),
            self._api.default_headers | headers | ({} if token is None else {"authorization": token}),
            body,
            _request_timeout=limits,
        )
        response: aiohttp.ClientResponse = answer.response
        return response


class Lines:
    """The lines of a stream; cancelling `next` loses nothing."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._read = bytearray()

    async def next(self) -> bytes | None:
        """Return one line, or None at the end of the stream."""
        seen = 0
        while (end := self._read.find(b"\n", seen)) < 0:
            seen = len(self._read)
            piece = await anext(self._pieces, b"")
            if not piece:
                return None
            self._read += piece
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        return line


async def _answer(what: str, request: Awaitable[aiohttp.ClientResponse], *, largest: int | None = None) -> str:
    with translated(what):
        async with await request as response:
            text = (await _content(response, largest)).decode(errors="replace")
            if not response.ok:
                raise _refusal(response, text)
    return text


def _decoded(what: str, text: str) -> Body:
    try:
        answer: Body = json.loads(text)
    except ValueError as error:
        raise ApiUnavailable(f"{what}: the answer is not JSON") from error
    return answer


async def _content(response: aiohttp.ClientResponse, largest: int | None) -> bytes:
    """Return the content; raise _TooLarge as soon as it exceeds `largest` bytes."""
    if largest is None:
        return await response.read()
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > largest:
            response.close()
            raise _TooLarge
    return bytes(pieces)


def _refusal(response: aiohttp.ClientResponse, body: str) -> ApiException:
    error = ApiException(status=response.status, reason=response.reason)
    error.body = body
    return error


_TERMINATING: Final = "NamespaceTerminating"
_TEMPORARY: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise every error of the Kubernetes client and its transport as a `ClusterError` that begins with `what`."""
    try:
        yield
    except ApiException as error:
        raise _of_answer(what, error) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ApiUnavailable(f"{what}: {_short(error)}") from error


def _of_answer(what: str, error: ApiException) -> ClusterError:
    status = int(error.status or 0)
    text = f"{what}: {status} {_message(error)}"
    match status:
        case HTTPStatus.NOT_FOUND:
            return ApiNotFound(text) if "kind" in _body(error) else ApiNotInstalled(text)
        case HTTPStatus.CONFLICT:
            return ApiConflict(text)
        case HTTPStatus.FORBIDDEN:
            return ApiNoRoom(text) if _has_no_room(error) else ApiForbidden(text)
        case HTTPStatus.GONE:
            return ApiExpired(text)
    if status in _TEMPORARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == 0:
        return ApiUnavailable(text)
    return ApiRejected(text)


def _message(error: ApiException) -> str:
    message = _body(error).get("message")
    return " ".join(str(message or error.reason or "no reason given").split())[:500]


def _has_no_room(error: ApiException) -> bool:
    """An exceeded quota shows in the words of the message alone."""
    body = _body(error)
    causes = (body.get("details") or {}).get("causes") or ()
    return "exceeded quota: " in _message(error) or any(cause.get("reason") == _TERMINATING for cause in causes)


def _body(error: ApiException) -> dict[str, Any]:
    try:
        body = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _short(error: BaseException) -> str:
    fallback = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return " ".join(str(error).split())[:300] or fallback
