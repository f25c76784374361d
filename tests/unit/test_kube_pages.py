"""Collections are read in pages that are limited in bytes, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from projectsetup.kube.client import LARGEST_PAGE, RestClient

SIZES = [10] * 100 + [LARGEST_PAGE // 3] * 20 + [LARGEST_PAGE * 2] + [10] * 60
"""Bytes of the objects there are."""


async def _read() -> tuple[list[int], list[int]]:
    """The sizes of what was read, and the limits that were asked for."""
    limits: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        limit, first = int(request.query["limit"]), int(request.query.get("continue", 0))
        limits.append(limit)
        last = first + limit
        token = str(last) if last < len(SIZES) else ""
        items = [{"size": size, "filler": "x" * size} for size in SIZES[first:last]]
        return web.json_response({"metadata": {"resourceVersion": "7", "continue": token}, "items": items})

    application = web.Application()
    application.router.add_get("/things", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    host, port = server.sockets[0].getsockname()
    try:
        async with ApiClient(Configuration(host=f"http://{host}:{port}")) as api:
            found, version = await RestClient(api).list_all("list things", "/things", query={"limit": 50})
        assert version == "7"
        return [item["size"] for item in found], limits
    finally:
        await runner.cleanup()


def test_a_page_that_is_too_large_is_read_in_smaller_ones_and_nothing_is_missed() -> None:
    found, limits = asyncio.run(_read())
    assert found == SIZES
    assert max(limits) == 50
    assert min(limits) == 1
    assert limits[-1] > 10, "after large objects pages get longer again"
