"""The output of attempts, for people: from the database, or from the pods with the caller's own rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from projectsetup.api.models import parse_resource
from projectsetup.engines.base import run_prefix
from projectsetup.engines.kubernetes_job.manifest import PROJECT, SELECTOR
from projectsetup.engines.kubernetes_job.outcome import announced_step
from projectsetup.kube.errors import ApiNotFound, ApiRejected
from projectsetup.setup.output import readable
from projectsetup.setup.scrub import Scrubber

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.kube.client import Body
    from projectsetup.kube.pod_logs import PodLogs
    from projectsetup.kube.setups import SetupClient
    from projectsetup.projects import ProjectRecord
    from projectsetup.projects.logs import LogHead, LogRow

POLL: Final = 1.0
"""Seconds between two looks for more output."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a step printed."""

    step: str
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Lines that are missing here; None: some."""

    lines: int | None

    def __str__(self) -> str:
        return f"… {'some' if self.lines is None else format(self.lines, ',')} lines left out …"


@dataclass(frozen=True, slots=True)
class AttemptOutput:
    """An attempt that has output; `run_name` is unique."""

    attempt: int
    run_name: str


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

    def lines(self, attempt: AttemptOutput, *, follow: bool) -> AsyncGenerator[Line | LeftOut]:
        """Yield the output of an attempt; `follow`: until the attempt has ended."""
        ...

    async def end(self) -> SetupEnd | None:
        """How the setup ended; None while it is queued or runs."""
        ...


class StoredLogs:
    """Output in the database. Raises DatabaseUnavailable."""

    def __init__(self, record: ProjectRecord, project_id: UUID) -> None:
        self._record = record
        self._logs = record.logs()
        self._project_id = project_id

    async def attempts(self) -> Sequence[AttemptOutput]:
        """See `LogSource`."""
        heads = await self._logs.of(self._project_id)
        return [AttemptOutput(head.attempt, head.run_name) for head in reversed(heads)]

    async def lines(self, attempt: AttemptOutput, *, follow: bool) -> AsyncGenerator[Line | LeftOut]:
        """See `LogSource`."""
        last = -1
        while True:
            is_last = not follow or await self._logs.has_ended(self._project_id, attempt.run_name)
            while rows := await self._logs.rows(attempt.run_name, after=last):
                head = await self._logs.head(attempt.run_name)
                for row in rows:
                    if head is not None and (missing := _left_out(head, last, row)) is not None:
                        yield missing
                    for line in row.text.splitlines():
                        yield Line(row.step, row.at, line)
                    last = row.number
            if is_last:
                return
            await asyncio.sleep(POLL)

    async def end(self) -> SetupEnd | None:
        """See `LogSource`."""
        project = await self._record.get(self._project_id)
        if project is None or project.status == "ready":
            return SetupEnd(succeeded=project is not None, message="the project is ready")
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
        names = [_run_name(pod, self._project_id) for pod in await self._pods()]
        return [AttemptOutput(_number(name, self._project_id), name) for name in dict.fromkeys(filter(None, names))]

    async def lines(self, attempt: AttemptOutput, *, follow: bool) -> AsyncGenerator[Line | LeftOut]:
        """See `LogSource`."""
        for pod in await self._pods():
            if _run_name(pod, self._project_id) != attempt.run_name:
                continue
            for container in _stages(pod):
                if follow and not await self._started(pod["metadata"]["name"], container):
                    break
                async with aclosing(self._container(pod["metadata"]["name"], container, follow=follow)) as lines:
                    async for line in lines:
                        yield line

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

    async def _container(self, pod: str, container: str, *, follow: bool) -> AsyncGenerator[Line]:
        step, scrubber, rest = container, Scrubber(), b""
        try:
            async with aclosing(self._logs.read(self._namespace, pod, container, follow=follow)) as pieces:
                async for piece in pieces:
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        time, _, text = line.partition(b" ")
                        if announced := announced_step(text):
                            step = announced
                        elif text or time:
                            yield Line(step, datetime.fromisoformat(time.decode()), scrubber.scrub(readable(text)))
        except (ApiNotFound, ApiRejected):  # the container has not started, or its pod is gone
            return

    async def _started(self, pod: str, container: str) -> bool:
        """Wait until the container has started; False if it never will."""
        while True:
            try:
                body = await self._logs.get(self._namespace, pod)
            except ApiNotFound:
                return False
            state = _states(body).get(container) or {}
            if "running" in state or "terminated" in state:
                return True
            if body["status"].get("phase") in {"Succeeded", "Failed"}:
                return False
            await asyncio.sleep(POLL)


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


def _states(pod: Body) -> Mapping[str, Any]:
    status = pod.get("status") or {}
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return {container["name"]: container.get("state") for container in statuses}
