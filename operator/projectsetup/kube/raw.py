"""Calls to the API server in plain JSON: the client's models take too long where there is much to read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from projectsetup.kube.errors import ApiUnavailable
from projectsetup.kube.translate import translated

TIMEOUT = 10.0
"""Seconds that a call may take, and that a stream may take to begin."""
PAGE, FIRST_PAGE = 200, 10
"""Objects of a page of a collection, at most and of the first."""
LARGEST_PAGE = 4 * 1024 * 1024
"""Bytes of a page: decoded it takes several times that."""

Body = dict[str, Any]
Query = Mapping[str, str | int]

MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_LIMITED = aiohttp.ClientTimeout(total=TIMEOUT)
_UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT)


class _TooLarge(Exception):
    """An answer is larger than allowed; the rest of it was not read."""


class RawApi:
    """One client; every error is a `ClusterError`, of which `what` begins the text."""

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
        accept: str = _JSON,
        content_type: str = _JSON,
    ) -> Body:
        """The answer to one call; the kinds of patches are told apart by `content_type`."""
        headers = {"Accept": accept, "Content-Type": content_type}
        request = self._request(method, path, query=query or {}, body=body, headers=headers, limits=_LIMITED)
        return _decoded(what, await _answer(what, request))

    async def list_all(
        self, what: str, path: str, *, query: Query, metadata_only: bool = False
    ) -> tuple[list[Body], str]:
        """All objects of a collection, read from the store and not from a cache, and the version of that list."""
        found: list[Body] = []
        version = ""
        async for page in self.pages(what, path, query=query, metadata_only=metadata_only):
            found += page["items"]
            version = page["metadata"]["resourceVersion"]
        return found, version

    async def pages(self, what: str, path: str, *, query: Query, metadata_only: bool = False) -> AsyncGenerator[Body]:
        """A collection page by page, as `list_all` reads it; `limit` in the query tells how long a page is at most.

        What is read at once is limited in bytes as well: pages are as long as the objects are small.
        """
        headers = {"Accept": _METADATA if metadata_only else _JSON, "Content-Type": _JSON}
        longest = int(query.get("limit", PAGE))
        limit = min(FIRST_PAGE, longest)
        token = ""
        while True:
            asked = {**query, "limit": limit} | ({"continue": token} if token else {})
            request = self._request("GET", path, query=asked, body=None, headers=headers, limits=_LIMITED)
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
        """The answer in pieces, as they come, for as long as it goes on."""
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
        request = await self._api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*request, _request_timeout=limits)
        response: aiohttp.ClientResponse = answer.response
        return response


class Lines:
    """The lines of a stream; to stop waiting for the next one loses nothing."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._read = bytearray()

    async def next(self) -> bytes | None:
        """One line, None at the end of the stream."""
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
        raise ApiUnavailable(f"{what}: the answer is no JSON") from error
    return answer


async def _content(response: aiohttp.ClientResponse, largest: int | None) -> bytes:
    """The content; _TooLarge as soon as there is more of it than that."""
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
