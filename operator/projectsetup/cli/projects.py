"""What the `projects` commands do with the project record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from projectsetup.api.durations import lasting
from projectsetup.cli.errors import CommandError
from projectsetup.cli.names import ProjectRef, find_project, find_project_id
from projectsetup.cli.output import Format, write_data, write_text
from projectsetup.cli.tables import fields, moment, table
from projectsetup.projects import AlreadyTaken, Project, ProjectRecord
from projectsetup.projects.address import DatabaseAddress

T = TypeVar("T")

_COLUMNS = ("ID", "NAME", "NAMESPACE", "STATUS", "OWNER", "UPDATED")


def on_record(work: Callable[[ProjectRecord], Awaitable[T]]) -> T:
    """Do some work on the record in the database that DATABASE_URL names."""

    async def connected() -> T:
        async with ProjectRecord.connect(DatabaseAddress.from_environment()) as record:
            try:
                return await work(record)
            except AlreadyTaken as taken:  # who has the database may see every project
                raise CommandError(taken.naming_holder()) from taken

    return asyncio.run(connected())


def on_project(project: ProjectRef, work: Callable[[ProjectRecord, UUID], Awaitable[T]]) -> T:
    """Do some work on one project."""

    async def found(record: ProjectRecord) -> T:
        return await work(record, await find_project_id(record, project))

    return on_record(found)


def show_project(wanted: ProjectRef, output: Format) -> None:
    """Print one project; NoSuchProject."""

    project = on_record(lambda record: find_project(record, wanted))
    if output is not Format.TABLE:
        write_data(project.to_dict(), output, names=[f"project/{project.id}"])
        return
    write_text(fields(_fields(project, datetime.now(UTC))))


def show_projects(output: Format) -> None:
    """Print all projects."""
    found = on_record(lambda record: record.list())
    if output is not Format.TABLE:
        value = [project.to_dict() for project in found]
        write_data(value, output, names=[f"project/{project.id}" for project in found])
        return
    now = datetime.now(UTC)
    rows = [
        (p.id, p.name, p.namespace or "", str(p.status), p.owner or "", f"{lasting(now - p.updated_at)} ago")
        for p in found
    ]
    write_text(table(_COLUMNS, rows))


def _fields(project: Project, now: datetime) -> dict[str, object]:
    return {
        "ID": project.id,
        "Name": project.name,
        "Slug": project.slug,
        "Description": project.description,
        "Code repository": project.code_repo,
        "Docs repository": project.docs_repo,
        "Namespace": project.namespace,
        "Status": str(project.status),
        "Error": _error(project),
        "Owner": project.owner,
        "Attempt": project.attempt or "",
        "Created": moment(project.inserted_at, now),
        "Updated": moment(project.updated_at, now),
    }


def _error(project: Project) -> str:
    error = project.setup_error
    if not error:
        return ""
    step = f" in step {error['step']}" if error.get("step") else ""
    rest = {key: value for key, value in error.items() if key not in {"reason", "step", "message"}}
    more = f" {json.dumps(rest, ensure_ascii=False)}" if rest else ""
    return f"{error.get('reason', 'failed')}{step}: {error.get('message', '')}{more}"
