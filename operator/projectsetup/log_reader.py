"""The output of attempts, for people: from the database, or from the pods with the caller's own rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from projectsetup.api.models import parse_resource
from projectsetup.engines.base import run_prefix
from projectsetup.engines.kubernetes_job.manifest import PROJECT, SELECTOR
from projectsetup.engines.kubernetes_job.objects import container_statuses
from projectsetup.engines.kubernetes_job.outcome import announced_step
from projectsetup.kube.errors import ApiNotFound, ApiRejected
from projectsetup.setup.output import readable
from projectsetup.setup.scrub import Scrubber
from projectsetup.text import without_harm

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.kube.client import Body
    from projectsetup.kube.pod_logs import PodLogs
    from projectsetup.kube.setups import SetupClient
    from projectsetup.projects import ProjectRecord
    from projectsetup.projects.history import PastAttempt
    from projectsetup.projects.logs import LogHead, LogRow

POLL: Final = 1.0
"""Seconds between two looks for more output."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a step printed; `place` names it within its attempt, also when more is printed."""

    step: str
    at: datetime
    text: str
    place: str

    @property
    def shown(self) -> str:
        """The text as a terminal or a page shows it: without tabs and harmful characters."""
        return without_harm(self.text.expandtabs())


@dataclass(frozen=True, slots=True)
class Mark:
    """The line up to which somebody has read: its place and step."""

    place: str
    step: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Lines that are missing here; None: some."""

    lines: int | None

    def __str__(self) -> str:
        return f"… {'some' if self.lines is None else format(self.lines, ',')} lines left out …"


@dataclass(frozen=True, slots=True)
class AttemptOutput:
    """An attempt that has output; `run_name` is unique.

    `steps` are those that began, each `{name, startedAt, finishedAt}`; empty where only the database would know.
    """

    attempt: int
    run_name: str
    started_at: datetime
    steps: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class SetupEnd:
    """How a setup ended."""

    succeeded: bool
    message: str


class LogSource(Protocol):
    """Where the output of one project's attempts is."""

    async def attempts(self) -> Sequence[AttemptOutput]:
        """The attempts that have output, oldest first."""
        ...

    def lines(
        self, attempt: AttemptOutput, *, follow: bool, after: Mark | None = None
    ) -> AsyncGenerator[Line | LeftOut]:
        """Yield the output of an attempt, or what comes `after` that line; `follow`: until the attempt has ended.

        Raises ValueError if no line can have this mark.
        """
        ...

    async def history(self) -> Sequence[PastAttempt] | None:
        """The attempts that have ended, oldest first; None where only the database would know."""
        ...

    async def end(self) -> SetupEnd | None:
        """How the setup ended; None while it is queued or runs."""
        ...


class StoredLogs:
    """Output in the database. Raises DatabaseUnavailable."""

    def __init__(self, record: ProjectRecord, project_id: UUID, namespace: str | None = None) -> None:
        """With `namespace`, a project that belongs to another one has neither output nor history."""
        self._record = record
        self._logs = record.logs()
        self._project_id = project_id
        self._namespace = namespace

    async def attempts(self) -> Sequence[AttemptOutput]:
        """See `LogSource`."""
        if not await self._is_here():
            return []
        heads = reversed(await self._logs.of(self._project_id))
        return [AttemptOutput(head.attempt, head.run_name, head.started_at, head.steps) for head in heads]

    async def lines(
        self, attempt: AttemptOutput, *, follow: bool, after: Mark | None = None
    ) -> AsyncGenerator[Line | LeftOut]:
        """See `LogSource`."""
        last = -1 if after is None else int(after.place.partition(".")[0])
        while True:
            is_last = not follow or await self._logs.has_ended(self._project_id, attempt.run_name)
            while rows := await self._logs.rows(attempt.run_name, after=last):
                head = await self._logs.head(attempt.run_name)
                for row in rows:
                    if head is not None and (missing := _left_out(head, last, row)) is not None:
                        yield missing
                    for number, line in enumerate(row.text.splitlines()):
                        yield Line(row.step, row.at, line, f"{row.number}.{number}")
                    last = row.number
            if is_last:
                return
            await asyncio.sleep(POLL)

    async def history(self) -> Sequence[PastAttempt] | None:
        """See `LogSource`."""
        return await self._record.history().of(self._project_id) if await self._is_here() else []

    async def _is_here(self) -> bool:
        if self._namespace is None:
            return True
        project = await self._record.get(self._project_id)
        return project is not None and project.namespace in {None, self._namespace}

    async def end(self) -> SetupEnd | None:
        """See `LogSource`."""
        project = await self._record.get(self._project_id)
        if project is None:
            return SetupEnd(succeeded=False, message="the project was deleted")
        if project.status == "ready":
            return SetupEnd(succeeded=True, message="the project is ready")
        if project.status != "failed":
            return None
        error: Mapping[str, Any] = project.setup_error or {}
        return SetupEnd(succeeded=False, message=f"{error.get('reason', 'Failed')}: {error.get('message', '')}")


def _left_out(head: LogHead, last: int, row: LogRow) -> LeftOut | None:
    """What is missing between two rows that were read, the second of them this one."""
    if head.tail_from is None or head.lines_left_out == 0 or row.number < head.tail_from:
        return None
    if last < head.tail_from:
        return LeftOut(head.lines_left_out)
    return LeftOut(None) if row.number > last + 1 else None


class PodOutput:
    """Output of the pods that are left. Raises ClusterError."""

    def __init__(self, setups: SetupClient, logs: PodLogs, namespace: str, project_id: UUID) -> None:
        self._setups = setups
        self._logs = logs
        self._namespace = namespace
        self._project_id = project_id

    async def attempts(self) -> Sequence[AttemptOutput]:
        """See `LogSource`."""
        found: dict[str, AttemptOutput] = {}
        for pod in await self._pods():
            name = _run_name(pod, self._project_id)
            if name is not None and name not in found:
                created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
                found[name] = AttemptOutput(_number(name, self._project_id), name, created)
        return list(found.values())

    async def lines(
        self, attempt: AttemptOutput, *, follow: bool, after: Mark | None = None
    ) -> AsyncGenerator[Line | LeftOut]:
        """See `LogSource`."""
        seen = None if after is None else _PodPlace.parse(after.place)
        for pod in await self._pods():
            if _run_name(pod, self._project_id) != attempt.run_name:
                continue
            name = pod["metadata"]["name"]
            for container in _stages(pod):
                if seen is not None and (seen.pod, seen.container) != (name, container):
                    continue
                if follow and not await self._started(name, container):
                    break
                step = container if after is None or seen is None else after.step
                async with aclosing(self._container(name, container, step, seen, follow=follow)) as lines:
                    async for line in lines:
                        yield line
                seen = None

    async def history(self) -> Sequence[PastAttempt] | None:
        """See `LogSource`."""
        return None

    async def end(self) -> SetupEnd | None:
        """See `LogSource`."""
        body = await self._setups.find(self._namespace, str(self._project_id))
        if body is None:
            return SetupEnd(succeeded=False, message="its ProjectSetup was deleted")
        resource = parse_resource(body)
        condition = resource.condition
        if condition is None or not resource.is_over:
            return None
        text = condition.message if resource.succeeded else f"{condition.reason}: {condition.message}"
        return SetupEnd(resource.succeeded, text)

    async def _pods(self) -> list[Body]:
        return await self._logs.select(self._namespace, f"{SELECTOR},{PROJECT}={self._project_id}")

    async def _container(
        self, pod: str, container: str, step: str, seen: _PodPlace | None, *, follow: bool
    ) -> AsyncGenerator[Line]:
        since = None if seen is None else f"{datetime.fromtimestamp(seen.second, UTC):%Y-%m-%dT%H:%M:%SZ}"
        place, scrubber, rest = _PodPlace(pod, container, 0, 0), Scrubber(), b""
        try:
            async with aclosing(self._logs.read(self._namespace, pod, container, follow=follow, since=since)) as pieces:
                async for piece in pieces:
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        time, _, text = line.partition(b" ")
                        at = datetime.fromisoformat(time.decode())
                        place = place.next(at)
                        if seen is not None and place <= seen:
                            continue
                        if announced := announced_step(text):
                            step = announced
                        else:
                            yield Line(step, at, scrubber.scrub(readable(text)), str(place))
        except (ApiNotFound, ApiRejected):  # the container has not started, or its pod is gone
            return

    async def _started(self, pod: str, container: str) -> bool:
        """Wait until the container has started; False if it never will."""
        while True:
            try:
                body = await self._logs.get(self._namespace, pod)
            except ApiNotFound:
                return False
            state = (container_statuses(body).get(container) or {}).get("state") or {}
            if "running" in state or "terminated" in state:
                return True
            if body["status"].get("phase") in {"Succeeded", "Failed"}:
                return False
            await asyncio.sleep(POLL)


class _PodPlace(NamedTuple):
    """A line of a container: the kubelet can be asked for the lines since a second, but not for those since a line."""

    pod: str
    container: str
    second: int
    number: int
    """Among the lines of this second."""

    def __str__(self) -> str:
        return "/".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> _PodPlace:
        """Raises ValueError."""
        pod, container, second, number = text.split("/")
        return cls(pod, container, int(second), int(number))

    def next(self, at: datetime) -> _PodPlace:
        """The place of the next line, which was printed at this time."""
        second = int(at.timestamp())
        return self._replace(second=second, number=self.number + 1 if second == self.second else 0)


def _run_name(pod: Body, project_id: UUID) -> str | None:
    """The name of the attempt's run, which is that of its Job; None for a pod that is not of an attempt."""
    owners = [owner["name"] for owner in pod["metadata"].get("ownerReferences") or () if owner.get("kind") == "Job"]
    return next((name for name in owners if name.startswith(run_prefix(project_id))), None)


def _number(run_name: str, project_id: UUID) -> int:
    number = run_name.removeprefix(run_prefix(project_id)).partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _stages(pod: Body) -> list[str]:
    """The containers that run steps, in order; others may have added containers of their own."""
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    return [
        container["name"]
        for container in containers
        if any(variable["name"] == "PROJECT_ID" for variable in container.get("env") or ())
    ]
