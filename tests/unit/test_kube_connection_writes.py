"""Write requests are checked when they leave and reported when they are answered; a 403 is doubted at first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientConnectionError, ClientError, ClientSession, TCPConnector, web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from projectsetup.kube.connection import ReportingClient, guarded, resource_of, result_of


class Lost(Exception):
    """The right to write is lost."""


class Server:
    """Answers a request after `release`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.arrived = asyncio.Event()
        self.release = asyncio.Event()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path}")
        self.arrived.set()
        await self.release.wait()
        return web.Response()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{name}", server.answer)
    async with TestServer(app) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server


async def test_a_write_that_waited_for_a_connection_is_checked_when_it_leaves(server: Server) -> None:
    leads = True

    def check() -> None:
        if not leads:
            raise Lost

    async with ClientSession(request_class=guarded(check), connector=TCPConnector(limit=1)) as session:
        first = asyncio.create_task(session.post(f"{server.url}/first"))
        await asyncio.wait_for(server.arrived.wait(), 10)
        second = asyncio.create_task(session.post(f"{server.url}/second"))
        reading = asyncio.create_task(session.get(f"{server.url}/reading"))
        leads = False
        server.release.set()
        (await asyncio.wait_for(first, 10)).release()
        with pytest.raises(Lost):
            await asyncio.wait_for(second, 10)
        assert (await asyncio.wait_for(reading, 10)).status == 200
    assert server.seen == ["POST /first", "GET /reading"]


async def test_a_write_is_checked_once_more_when_its_body_leaves(server: Server) -> None:
    answers = iter([None, Lost()])

    def check() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    server.release.set()
    async with ClientSession(request_class=guarded(check)) as session:
        with pytest.raises(ClientConnectionError):
            await asyncio.wait_for(session.post(f"{server.url}/written", data=b"body"), 10)
        await asyncio.wait_for(session.get(f"{server.url}/reading"), 10)
    assert server.seen == ["GET /reading"]


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/apis/codemyspec.com/v1alpha1/namespaces/team/projectsetups/id/status", "projectsetups/status"),
        ("/apis/events.k8s.io/v1/namespaces/team/events", "events"),
        ("/apis/coordination.k8s.io/v1/namespaces/apis/leases/name", "leases"),
        ("/apis/batch/v1/namespaces/namespaces/jobs/name", "jobs"),
        ("/api/v1/namespaces/apis/pods/name", "pods"),
        ("/k8s/clusters/c-1/api/v1/namespaces/team/pods/name", "pods"),
        ("/api/v1/namespaces/team", "namespaces"),
        ("/version", "other"),
    ],
)
def test_the_resource_and_nothing_of_the_object(path: str, resource: str) -> None:
    assert resource_of(path) == resource


RESULTS = {"ok": (200, 201), "rejected": (400, 422, 499), "unavailable": (401, 429, 500), "forbidden": (403,)}


@pytest.mark.parametrize(("result", "codes"), [*RESULTS.items(), ("not_found", (404,)), ("conflict", (409,))])
def test_what_became_of_it(result: str, codes: tuple[int, ...]) -> None:
    assert {result_of(code) for code in codes} == {result}


async def test_every_write_is_reported_also_one_without_an_answer(server: Server) -> None:
    reported: list[tuple[str, str, str]] = []
    server.release.set()
    async with ReportingClient(Configuration(host=server.url), lambda *report: reported.append(report)) as api:
        for method in ("GET", "PUT"):
            (await api.call_api(method, f"{server.url}/written", {}, {})).response.release()
        with pytest.raises(ClientConnectionError):
            await api.call_api("DELETE", "http://127.0.0.1:1/api/v1/namespaces/team/pods/name", {})
    assert reported == [("other", "update", "ok"), ("pods", "delete", "unavailable")]


@pytest.mark.parametrize(
    ("answers", "listed", "result"),
    [
        ([403, 403], 200, 403),
        ([403, 201], 200, 201),
        ([403], 403, None),
        ([403], 500, None),
        ([201], 403, 201),
    ],
    ids=["the right is missing", "RBAC was read meanwhile", "no rights yet", "not even ready", "allowed"],
)
async def test_a_refusal_counts_once_the_api_server_grants_what_is_surely_allowed(
    answers: list[int], listed: int, result: int | None
) -> None:
    left, reported = list(answers), list[str]()
    app = web.Application()

    async def create(_: web.Request) -> web.Response:
        return web.Response(status=left.pop(0))

    async def list_(_: web.Request) -> web.Response:
        return web.Response(status=listed)

    app.router.add_post("/jobs", create)
    app.router.add_get("/setups", list_)
    async with TestServer(app) as running:
        host = str(running.make_url("")).rstrip("/")
        configuration = Configuration(host=host)
        async with ReportingClient(configuration, lambda *report: reported.append(report[2]), "/setups") as api:
            if result is None:
                with pytest.raises(ClientError, match="grants no rights yet"):
                    await api.call_api("POST", f"{host}/jobs", {}, {})
            else:
                answer = await api.call_api("POST", f"{host}/jobs", {}, {})
                answer.response.release()
                assert answer.status == result
    assert left == []
    assert len(reported) == len(answers)
