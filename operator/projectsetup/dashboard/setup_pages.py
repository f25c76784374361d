"""The pages of single setups: `/setups/NAMESPACE/NAME`, the parts of it that are refreshed, and its log as text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from aiohttp import web

from projectsetup.dashboard.attempts import Attempt, attempts_of
from projectsetup.dashboard.rendering import (
    ActionResult,
    Frame,
    SetupFacts,
    render_log_part,
    render_overview,
    render_setup,
)
from projectsetup.dashboard.rows import row_of
from projectsetup.dashboard.setup_log import LogPart, Position, last_part, next_part, plain_text
from projectsetup.kube.errors import ApiNotFound, ClusterError
from projectsetup.log_reader import AttemptOutput, LogSource
from projectsetup.projects.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from projectsetup.api.models import ProjectSetupResource
    from projectsetup.dashboard.state import ClusterState
    from projectsetup.kube.setup_events import SeenEvent
    from projectsetup.projects.history import PastAttempt

LogSources = Callable[[str, UUID], LogSource]
"""Where the output of a project's attempts is, for its ProjectSetup in this namespace."""

T = TypeVar("T")
_UNREADABLE = (ClusterError, DatabaseUnavailable)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of one setup beside its object."""

    resource: ProjectSetupResource
    source: LogSource
    outputs: Sequence[AttemptOutput]
    past: Sequence[PastAttempt] | None
    events: Sequence[SeenEvent] | None
    problems: Sequence[str]


class SetupPages:
    """Shows the setups of `state` to GET requests; what is not in `state` is not found."""

    def __init__(
        self, state: ClusterState, frame: Frame, sources: LogSources, result: Callable[[], ActionResult | None]
    ) -> None:
        self._state = state
        self._frame = frame
        self._sources = sources
        self._result = result

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        place = "/setups/{namespace}/{name}"
        app.router.add_get(place, self._page)
        app.router.add_get(f"{place}/overview", self._overview)
        app.router.add_get(f"{place}/log", self._more)
        app.router.add_get(f"{place}/log.txt", self._text)

    async def _page(self, request: web.Request) -> web.Response:
        read = await self._read(self._resource(request))
        facts = self._facts(request, read)
        log = await self._log(read, facts)
        return _html(await asyncio.to_thread(render_setup, self._frame, facts, log))

    async def _overview(self, request: web.Request) -> web.Response:
        facts = self._facts(request, await self._read(self._resource(request)))
        return _html(await asyncio.to_thread(render_overview, self._frame, facts))

    async def _more(self, request: web.Request) -> web.Response:
        """What follows in the log; 204 if there is nothing yet, or if it cannot be read at the moment."""
        resource, position = self._resource(request), Position.parse(request.query)
        source = self._source(resource)
        is_live = _is_live(resource, position.run_name, pinned=position.pinned)
        try:
            part = await next_part(source, position, await source.attempts(), is_live=is_live)
        except (ValueError, OverflowError) as exc:
            raise web.HTTPBadRequest(text="no line of the log has this mark\n") from exc
        except _UNREADABLE:
            return web.Response(status=204)
        if part.is_empty and part.position is not None:
            return web.Response(status=204)
        return _html(render_log_part(resource, part))

    async def _text(self, request: web.Request) -> web.StreamResponse:
        resource = self._resource(request)
        source = self._source(resource)
        try:
            found = await source.attempts()
            output = next((each for each in found if each.run_name == request.query.get("attempt")), None)
            if output is None:
                raise web.HTTPNotFound(text="there is no log of this attempt\n")
            return await _send(request, plain_text(source, output))
        except _UNREADABLE as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error

    def _resource(self, request: web.Request) -> ProjectSetupResource:
        key = request.match_info["namespace"], request.match_info["name"]
        resource = self._state.resource(key)
        if resource is None:
            raise web.HTTPNotFound(text="there is no ProjectSetup {}/{} here\n".format(*key))
        return resource

    def _source(self, resource: ProjectSetupResource) -> LogSource:
        return self._sources(resource.namespace, resource.project_id)

    async def _read(self, resource: ProjectSetupResource) -> _Read:
        source, problems = self._source(resource), list[str]()
        past, outputs, events = await asyncio.gather(
            _or(None, source.history(), problems),
            _or((), source.attempts(), problems),
            _or(None, self._state.events(resource), problems),
        )
        return _Read(resource, source, outputs, past, events, list(dict.fromkeys(problems)))

    def _facts(self, request: web.Request, read: _Read) -> SetupFacts:
        attempts = attempts_of(read.resource, read.past, read.outputs)
        wanted = request.query.get("attempt")
        return SetupFacts(
            now=datetime.now(UTC),
            resource=read.resource,
            row=row_of(read.resource),
            attempts=attempts,
            chosen=_chosen(attempts, wanted),
            pinned=wanted,
            events=read.events,
            has_history=read.past is not None,
            problems=read.problems,
            outage=self._state.outage,
            result=self._result(),
        )

    async def _log(self, read: _Read, facts: SetupFacts) -> LogPart | str:
        """The last part of the log, or why there is none."""
        output, pinned = (facts.chosen.output if facts.chosen else None), facts.pinned is not None
        position = _before(facts, read.outputs) if output is None else Position(output.run_name)
        is_live = _is_live(read.resource, position.run_name, pinned=pinned)
        if output is None:
            return LogPart((), 0, position if is_live else None)
        try:
            return await last_part(read.source, output, pinned=pinned, is_live=is_live)
        except _UNREADABLE as error:
            return str(error)


def _chosen(attempts: Sequence[Attempt], run_name: str | None) -> Attempt | None:
    """The attempt with this run; without one, the latest."""
    if run_name is None:
        return next(iter(attempts), None)
    found = next((each for each in attempts if each.run_name == run_name), None)
    if found is None:
        raise web.HTTPNotFound(text="this setup has no such attempt\n")
    return found


def _before(facts: SetupFacts, outputs: Sequence[AttemptOutput]) -> Position:
    """The position of a page whose attempt has no output yet."""
    if facts.pinned is not None:
        return Position(facts.pinned, pinned=True)
    return Position(outputs[-1].run_name if outputs else "", skipped=True)


def _is_live(resource: ProjectSetupResource, run_name: str, *, pinned: bool) -> bool:
    """Whether more may follow in the log: of this attempt or, unless it is pinned, of those after it."""
    run = resource.status.run_ref
    return (run is not None and run.name == run_name) or not (pinned or resource.is_over)


async def _or(otherwise: T, reading: Awaitable[T], problems: list[str]) -> T:
    """What was read, or `otherwise` where that failed."""
    try:
        return await reading
    except ApiNotFound:
        return otherwise
    except _UNREADABLE as error:
        problems.append(" ".join(str(error).split()))
        return otherwise


async def _send(request: web.Request, lines: AsyncIterator[str]) -> web.StreamResponse:
    """Send the text as it is read. An error after its beginning is its last line."""
    response = web.StreamResponse()
    response.content_type, response.charset = "text/plain", "utf-8"
    line = await anext(lines, "")
    await response.prepare(request)
    try:
        while line:
            await response.write(line.encode(errors="replace"))
            line = await anext(lines, "")
    except _UNREADABLE as error:
        await response.write(f"error: {error}\n".encode())
    await response.write_eof()
    return response


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")
