"""The intake on a real API server and PostgreSQL, stopped at the moments that matter; no operator acts on its work."""

from __future__ import annotations

import asyncio
import gc
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from projectsetup.api.constants import CANCEL_REQUESTED_AT, REQUEST_ID, RETRY_REQUESTED_AT
from projectsetup.intake.intake import Intake
from projectsetup.kube.client import Body
from projectsetup.kube.connection import connect
from projectsetup.kube.leader import SoleOperator
from projectsetup.kube.setups import OPERATOR, SetupClient
from projectsetup.projects import ProjectRecord
from projectsetup.projects.model import PendingPage, PendingRequest
from projectsetup.projects.requests import PAGE, SetupRequests
from tests.support.api_server import ApiServer
from tests.support.recipe_policy import FORBIDDEN, REFUSAL, recipe_forbidden

LIMIT = 60.0
SUCCEEDED: dict[str, Any] = {
    "conditions": [
        {
            "type": "Succeeded",
            "status": "True",
            "reason": "SetupSucceeded",
            "message": "done",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
}


@dataclass(slots=True)
class WatchedSetups:
    """Forwards to the real client; records the creates, and how many are in flight at once."""

    client: SetupClient
    before_create: Callable[[str], Awaitable[None]] | None = None
    created: list[str] = field(default_factory=list)
    most_in_flight: int = 0
    _in_flight: int = 0

    async def create(self, namespace: str, name: str, **fields: Any) -> Body:
        if self.before_create is not None:
            await self.before_create(name)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            body = await self.client.create(namespace, name, **fields)
        finally:
            self._in_flight -= 1
        self.created.append(name)
        return body

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


@dataclass(slots=True)
class Application:
    """The database as an application sees it."""

    url: str

    def projects(self, number: int = 1) -> list[str]:
        statement = (
            "INSERT INTO projects (name, code_repo)"
            " SELECT gen_random_uuid()::text, 'https://git.example/' || gen_random_uuid()"
            " FROM generate_series(1, %s) RETURNING id::text"
        )
        with psycopg.connect(self.url) as sql:
            return [name for (name,) in sql.execute(statement, (number,)).fetchall()]

    def request(self, *calls: str, **values: object) -> list[str]:
        """The answers of these calls, in one transaction."""
        with psycopg.connect(self.url) as sql:
            return [str((sql.execute(f"SELECT {call}".encode(), values).fetchone() or (None,))[0]) for call in calls]

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.url) as sql:
            sql.execute(statement.encode(), values)

    def requests(self) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as sql:
            return sql.execute("SELECT * FROM setup_requests ORDER BY number").fetchall()

    def pending(self) -> int:
        return sum(row["handled_at"] is None for row in self.requests())

    def errors(self) -> list[str | None]:
        rows = self.requests()
        assert all(row["handled_at"] for row in rows), rows
        return [row["error"] for row in rows]


@dataclass(slots=True)
class Running:
    """An intake and what it talks to."""

    intake: Intake
    setups: WatchedSetups
    api: ApiServer
    wake: asyncio.Event

    async def until_idle(self, application: Application) -> None:
        """Run it until no request is pending; it is woken once, at its start."""
        running = asyncio.create_task(self.intake.run())
        try:
            async with asyncio.timeout(LIMIT):
                while application.pending():
                    assert not running.done(), running.result()
                    await asyncio.sleep(0.05)
        finally:
            running.cancel()
            await asyncio.wait({running})

    def annotations(self, project: str) -> dict[str, str]:
        found: dict[str, str] = self.api.get(project)["metadata"]["annotations"]
        return found


@pytest.fixture(scope="module")
def api(kubeconfig: Path) -> ApiServer:
    return ApiServer.prepared(kubeconfig, "intake")


@pytest.fixture
def application(database_url: str) -> Application:
    return Application(database_url)


@pytest.fixture
async def running(
    record: ProjectRecord, api: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    wake = asyncio.Event()

    async def wakeups() -> AsyncIterator[None]:
        while True:
            yield
            await wake.wait()
            wake.clear()

    async with await connect() as client:
        setups: Any = WatchedSetups(SetupClient(client, field_manager=OPERATOR))
        intake = Intake(record.setup_requests(), setups, SoleOperator(), api.namespace, wakeups)
        yield Running(intake, setups, api, wake)


async def test_requests_are_handled_one_by_one_in_order_and_read_in_pages(
    running: Running, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 3 * PAGE + 50
    order = random.Random(4)  # noqa: S311  # a reproducible order
    asked = [(order.randrange(10), project) for project in application.projects(number)]
    with psycopg.connect(application.url) as sql:
        for priority, project in asked:
            sql.execute("SELECT setup_project(%s, priority => %s)", (project, priority))
    in_memory: list[int] = []
    pages: list[int] = []
    read = SetupRequests.pending

    async def counted(self: SetupRequests, after: PendingRequest | None = None) -> PendingPage:
        page = await read(self, after)
        pages.append(len(page.requests))
        return page

    async def count(_: str) -> None:
        if len(running.setups.created) % 50 == 0:
            in_memory.append(sum(isinstance(each, PendingRequest) for each in gc.get_objects()))

    monkeypatch.setattr(SetupRequests, "pending", counted)
    running.setups.before_create = count
    await running.until_idle(application)
    assert running.setups.created == [project for _, project in sorted(asked, key=lambda one: one[0])]
    assert running.setups.most_in_flight == 1
    assert max(in_memory) <= PAGE + 2, "more than a page, the last one of the page before, and the one being handled"
    assert pages[:4] == [PAGE, PAGE, PAGE, 50]
    assert max(pages) == PAGE
    assert application.errors() == [None] * number


async def test_an_urgent_request_waits_for_no_more_than_the_current_page(
    running: Running, application: Application
) -> None:
    projects = application.projects(2 * PAGE + 10)
    (urgent,) = application.projects()
    with psycopg.connect(application.url) as sql:
        for project in projects:
            sql.execute("SELECT setup_project(%s)", (project,))

    async def interrupt(name: str) -> None:
        if name == projects[10]:
            application.request("setup_project(%(project)s, priority => 0)", project=urgent)
            running.wake.set()

    running.setups.before_create = interrupt
    await running.until_idle(application)
    assert running.setups.created == [*projects[:PAGE], urgent, *projects[PAGE:]]


async def test_a_cancel_reaches_what_runs_even_behind_another_request(
    running: Running, application: Application
) -> None:
    (project,) = application.projects()
    application.request("setup_project(%(project)s)", project=project)
    await running.until_idle(application)
    again, _ = application.request("setup_project(%(project)s)", "cancel_setup(%(project)s)", project=project)
    await running.until_idle(application)
    *_, cancel = application.requests()
    annotations = running.annotations(project)
    assert annotations[RETRY_REQUESTED_AT] == again
    assert annotations[CANCEL_REQUESTED_AT] == str(cancel["id"])
    assert application.errors() == [None, None, None]


async def test_a_cancel_reaches_what_was_created_just_before_a_crash(
    running: Running, application: Application
) -> None:
    (project,) = application.projects()
    asked, _ = application.request("setup_project(%(project)s)", "cancel_setup(%(project)s)", project=project)
    running.api.create(project, spec={}, annotations={REQUEST_ID: asked})
    await running.until_idle(application)
    assert running.annotations(project)[CANCEL_REQUESTED_AT] == str(application.requests()[1]["id"])
    assert application.errors() == [None, None]


async def test_a_request_that_coalesced_with_a_success_is_accepted(running: Running, application: Application) -> None:
    """The setup succeeds after its page of requests was read."""
    (project,) = application.projects()
    application.request("setup_project(%(project)s)", project=project)

    async def succeed(name: str) -> None:
        running.setups.before_create = None
        application.execute("UPDATE projects SET status = 'ready' WHERE id = %s", name)
        running.api.create(name, spec={})
        running.api.patch_status(name, SUCCEEDED)

    running.setups.before_create = succeed
    await running.until_idle(application)
    assert application.errors() == [None]
    assert RETRY_REQUESTED_AT not in running.api.get(project)["metadata"].get("annotations", {})


async def test_a_request_that_cannot_be_handled_holds_up_no_other(running: Running, application: Application) -> None:
    first, second = application.projects(2)
    for project in (first, second):
        application.request("setup_project(%(project)s)", project=project)
    failures: list[str] = []

    async def fail(name: str) -> None:
        if name == first and len(failures) < 2:
            failures.append(name)
            raise RuntimeError("a bug")

    running.setups.before_create = fail
    await running.until_idle(application)
    assert running.setups.created == [second, first]
    assert application.errors() == [None, None]


async def test_parameters_that_would_fill_the_memory_are_refused_unread(
    running: Running, application: Application
) -> None:
    (project,) = application.projects()
    parameters = json.dumps({"a": "x" * 1_000_000})
    application.request("setup_project(%(project)s, parameters => %(it)s)", project=project, it=parameters)
    await running.until_idle(application)
    assert application.errors() == ["parameters: at most 32768 bytes, names and values together"]
    assert running.setups.created == []


async def test_what_an_admission_policy_forbids_is_refused_and_holds_up_nothing(
    running: Running, application: Application, tmp_path: Path
) -> None:
    forbidden, allowed = application.projects(2)
    with recipe_forbidden(running.api, tmp_path):
        call = "setup_project(%(project)s, recipe => %(recipe)s)"
        application.request(call, project=forbidden, recipe=FORBIDDEN)
        application.request("setup_project(%(project)s)", project=allowed)
        await running.until_idle(application)
    refusal, none = application.errors()
    assert refusal is not None
    assert refusal.endswith(REFUSAL)
    assert "\n" not in refusal
    assert none is None
    assert running.setups.created == [allowed]
