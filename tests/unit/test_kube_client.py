"""Errors of the Kubernetes client are translated, and collections are read in pages that are limited in bytes."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException

from projectsetup.kube.client import LARGEST_PAGE, RestClient, translated
from projectsetup.kube.errors import (
    ApiConflict,
    ApiExpired,
    ApiForbidden,
    ApiNotFound,
    ApiNotInstalled,
    ApiRejected,
    ApiUnavailable,
    ClusterError,
)


def translation_of(error: Exception) -> ClusterError:
    """What becomes of an error."""
    with pytest.raises(ClusterError) as caught, translated("list things"):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def answer(status: int, *, body: str | None = None, reason: str = "Because") -> ApiException:
    error = ApiException(status=status, reason=reason)
    error.body = body
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *((answer(status), ApiUnavailable) for status in (0, 401, 408, 429, 500, 503, 504)),
        *((answer(status), ApiRejected) for status in (400, 422)),
        (answer(403), ApiForbidden),
        (answer(404), ApiNotInstalled),
        (answer(404, body="404 page not found"), ApiNotInstalled),
        (answer(404, body='{"kind": "Status", "reason": "NotFound", "message": "things not found"}'), ApiNotFound),
        (answer(409), ApiConflict),
        (answer(410), ApiExpired),
        (aiohttp.ClientConnectionError("reset"), ApiUnavailable),
        (aiohttp.ClientPayloadError("cut"), ApiUnavailable),
        (aiohttp.ServerDisconnectedError(), ApiUnavailable),
        (TimeoutError(), ApiUnavailable),
        (ConnectionRefusedError(111, "refused"), ApiUnavailable),
    ],
)
def test_each_error_has_its_kind(error: Exception, kind: type[ClusterError]) -> None:
    assert type(translation_of(error)) is kind


def test_the_text_is_what_the_server_says_in_one_line() -> None:
    body = json.dumps({"message": "the object\nhas   changed"})
    assert str(translation_of(answer(409, body=body))) == "list things: 409 the object has changed"


@pytest.mark.parametrize("body", [None, "", "<html>", "[]", "{}", '{"message": null}'])
def test_an_answer_without_a_message_gives_its_reason(body: str | None) -> None:
    assert str(translation_of(answer(500, body=body))) == "list things: 500 Because"


def test_an_error_without_words_gives_its_name_and_a_long_one_is_cut() -> None:
    assert str(translation_of(ConnectionResetError())) == "list things: ConnectionResetError"
    assert len(str(translation_of(OSError("x" * 5000)))) < 400
    assert len(str(translation_of(answer(500, body=json.dumps({"message": "x" * 5000}))))) < 600


def test_what_is_no_error_of_the_client_is_a_bug_and_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), translated("divide"):
        raise ZeroDivisionError


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
    async with TestServer(application) as server, ApiClient(Configuration(host=str(server.make_url("")))) as api:
        found, version = await RestClient(api).list_all("list things", "/things", query={"limit": 50})
    assert version == "7"
    return [item["size"] for item in found], limits


def test_a_page_that_is_too_large_is_read_in_smaller_ones_and_nothing_is_missed() -> None:
    found, limits = asyncio.run(_read())
    assert found == SIZES
    assert max(limits) == 50
    assert min(limits) == 1
    assert limits[-1] > 10, "after large objects pages get longer again"
