"""What `logs` and `history` show: the output of attempts, and all attempts there were."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from rich.text import Text

from projectsetup.api.durations import lasting
from projectsetup.api.steps import StepTime, rfc3339
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.names import ProjectRef, find_project, find_setup, titled
from projectsetup.cli.output import Format, LogFormat, say, write, write_data, write_text
from projectsetup.cli.tables import step_times, table
from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.setups import COMMAND_LINE, SetupClient
from projectsetup.log_reader import AttemptOutput, LeftOut, Line, LogSource, PodOutput, StoredLogs
from projectsetup.projects import ProjectRecord
from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.history import PastAttempt

LOOK_AGAIN = 1.0
"""Seconds until another attempt is looked for."""
_COLUMNS = ("ATTEMPT", "STARTED", "TOOK", "OUTCOME", "REASON", "STEP", "MESSAGE")


@dataclass(frozen=True, slots=True)
class Shown:
    """Which part of the output to show: of the latest attempt unless `attempt`, of all steps unless `step`."""

    attempt: int | None
    step: str | None
    tail: int | None
    timestamps: bool
    output: LogFormat


async def show_logs(
    kubeconfig: Kubeconfig, project: ProjectRef, namespace: str | None, shown: Shown, *, follow: bool
) -> None:
    """Print the output of one attempt; with `follow`, of all from that one on until the setup has ended."""
    async with _source(kubeconfig, project, namespace) as (source, title):
        attempts = await source.attempts()
        chosen = _chosen(attempts, shown.attempt)
        if follow:
            await _follow(source, title, {each.run_name for each in attempts if each is not chosen}, shown)
        elif chosen is None:
            raise CommandError(_why_none(source, attempts, title, shown.attempt))
        else:
            await _print(source, chosen, shown, follow=False)


async def _follow(source: LogSource, title: str, seen: set[str], shown: Shown) -> None:
    """Print the output of all attempts but those that were `seen`."""
    while True:
        end = await source.end()
        for attempt in await source.attempts():
            if attempt.run_name in seen:
                continue
            seen.add(attempt.run_name)
            if shown.output is LogFormat.TEXT:
                say(f"attempt {attempt.attempt} of project {title}")
            await _print(source, attempt, shown, follow=True)
        if end is not None:
            break
        await asyncio.sleep(LOOK_AGAIN)
    if not end.succeeded:
        raise CommandError(f"setup of project {title} failed: {end.message}", ExitCode.FAILED)


@asynccontextmanager
async def _source(
    kubeconfig: Kubeconfig, project: ProjectRef, namespace: str | None
) -> AsyncIterator[tuple[LogSource, str]]:
    """The database if DATABASE_URL is set, else the pods; and the project for people."""
    if os.environ.get("DATABASE_URL"):
        async with ProjectRecord.connect(DatabaseAddress.from_environment()) as record:
            found = await find_project(record, project)
            yield StoredLogs(record, found.id), titled(found.name, found.id)
        return
    from projectsetup.kube.client import RestClient
    from projectsetup.kube.pod_logs import PodLogs

    async with await connect(kubeconfig) as api, await connect(kubeconfig, streaming=True) as streams:
        setups = SetupClient(api, field_manager=COMMAND_LINE)
        place, name = await find_setup(setups, project, kubeconfig.namespace(namespace))
        known = None if project.id else project.name
        yield PodOutput(setups, PodLogs(RestClient(streams)), place, UUID(name)), titled(known, name)


def _chosen(attempts: Sequence[AttemptOutput], number: int | None) -> AttemptOutput | None:
    """The latest attempt, or the latest with this number."""
    return next((each for each in reversed(attempts) if number in {None, each.attempt}), None)


def _why_none(source: LogSource, attempts: Sequence[AttemptOutput], title: str, number: int | None) -> str:
    numbers = sorted({each.attempt for each in attempts})
    if numbers:
        return f"attempt {number} of project {title} has no log; there are logs of {', '.join(map(str, numbers))}"
    where = "in the database: no step has printed anything, or the log is older than the operator keeps logs"
    if not isinstance(source, StoredLogs):
        where = "in pods; set DATABASE_URL to read the logs that the operator keeps"
    return f"project {title} has no log {where}"


async def _print(source: LogSource, attempt: AttemptOutput, shown: Shown, *, follow: bool) -> None:
    printer = _Printer(attempt, shown)
    last: deque[Line | LeftOut] = deque(maxlen=shown.tail)
    async with aclosing(source.lines(attempt, follow=follow)) as lines:
        async for line in lines:
            if isinstance(line, Line) and shown.step not in {None, line.step}:
                continue
            if shown.tail is not None and not follow:
                last.append(line)
            else:
                printer.print(line)
    for line in last:
        printer.print(line)


@dataclass(slots=True)
class _Printer:
    attempt: AttemptOutput
    shown: Shown
    _step: str | None = field(default=None)

    def print(self, line: Line | LeftOut) -> None:
        """Print one line; of several steps, each begins with its name."""
        if self.shown.output is LogFormat.JSON:
            write(json.dumps(self._value(line), ensure_ascii=False))
            return
        if isinstance(line, LeftOut):
            write(str(line))
            return
        if self.shown.step is None and line.step != self._step:
            write_text(Text(f"── {line.step}", style="bold"))
        self._step = line.step
        time = f"{rfc3339(line.at)} " if self.shown.timestamps else ""
        write(time + line.shown)

    def _value(self, line: Line | LeftOut) -> dict[str, object]:
        if isinstance(line, LeftOut):
            return {"attempt": self.attempt.attempt, "linesLeftOut": line.lines}
        return {"attempt": self.attempt.attempt, "step": line.step, "time": rfc3339(line.at), "line": line.text}


async def show_history(project: ProjectRef, output: Format) -> None:
    """Print every attempt of a project that has ended."""
    async with ProjectRecord.connect(DatabaseAddress.from_environment()) as record:
        past = await record.history().of((await find_project(record, project)).id)
    if output is not Format.TABLE:
        write_data([_value(each) for each in past], output, names=[each.run_name or "" for each in past])
        return
    write_text(_overview(past, datetime.now(UTC)))


def _overview(past: Sequence[PastAttempt], now: datetime) -> Text:
    text = table(_COLUMNS, [_row(each, now) for each in past])
    for each in past[-1:]:
        if steps := step_times(map(StepTime.from_dict, each.steps)):
            text.append(f"\n\nSteps of the last attempt: {steps}")
    return text


def _row(attempt: PastAttempt, now: datetime) -> tuple[object, ...]:
    took = lasting(attempt.finished_at - attempt.started_at) if attempt.started_at else ""
    began = attempt.started_at or attempt.finished_at
    return (
        attempt.attempt,
        f"{lasting(now - began)} ago",
        took,
        attempt.outcome,
        attempt.reason,
        attempt.step or "",
        attempt.message,
    )


def _step(stored: Mapping[str, Any]) -> dict[str, object]:
    took = StepTime.from_dict(stored).took
    return {**stored, "seconds": None if took is None else took.total_seconds()}


def _value(attempt: PastAttempt) -> dict[str, object]:
    """One attempt as JSON, without what is not known."""
    named = {
        "attempt": attempt.attempt,
        "queuedAt": attempt.queued_at and rfc3339(attempt.queued_at),
        "startedAt": attempt.started_at and rfc3339(attempt.started_at),
        "finishedAt": rfc3339(attempt.finished_at),
        "seconds": (attempt.finished_at - attempt.started_at).total_seconds() if attempt.started_at else None,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "message": attempt.message,
        "step": attempt.step,
        "exitCode": attempt.exit_code,
        "steps": list(map(_step, attempt.steps)),
        "commits": {"codeRepo": attempt.code_commit, "docsRepo": attempt.docs_commit} if attempt.code_commit else None,
        "namespace": attempt.namespace,
        "uid": attempt.setup_uid,
        "run": attempt.run_name,
        "engine": attempt.engine,
        "recipe": attempt.recipe,
        "recipeDigest": attempt.recipe_digest,
        "operatorVersion": attempt.operator_version,
    }
    return {name: value for name, value in named.items() if value is not None}
