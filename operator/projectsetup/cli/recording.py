"""Carrying out `projects …`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from projectsetup.api.durations import lasting
from projectsetup.cli.lines import printable
from projectsetup.cli.output import Format, write_data, write_text
from projectsetup.cli.record import database_url
from projectsetup.cli.tables import fields, table
from projectsetup.cli.times import moment
from projectsetup.projects import NoSuchProject, Project, ProjectRecord

_COLUMNS = ("ID", "NAME", "NAMESPACE", "STATUS", "OWNER", "UPDATED")


def record() -> ProjectRecord:
    """The record that DATABASE_URL names."""
    return ProjectRecord.connect(database_url())


async def create_project(**values: Any) -> str:
    """The id of the project that is made of the values that `ProjectRecord.create` takes."""
    async with record() as projects:
        return str((await projects.create(**values)).id)


async def show_project(project_id: UUID, output: Format) -> None:
    """Print one project; NoSuchProject."""
    async with record() as projects:
        project = await projects.get(project_id)
    if project is None:
        raise NoSuchProject(project_id)
    if output is not Format.TABLE:
        write_data(project.to_dict(), output, names=[f"project/{project.id}"])
        return
    write_text(fields(_fields(project, datetime.now(UTC))))


async def show_projects(output: Format) -> None:
    """Print all projects."""
    async with record() as projects:
        found = await projects.list()
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


async def project_choices() -> list[tuple[str, str]]:
    """The ids of all projects, each with its name and status."""
    async with record() as projects:
        return [(str(project.id), printable(f"{project.name}, {project.status}")) for project in await projects.list()]


async def update_project(project_id: UUID, **changes: Any) -> None:
    """Change what `ProjectRecord.update` takes; NoSuchProject, ProjectBusy, InvalidProject."""
    async with record() as projects:
        await projects.update(project_id, **changes)


async def reset_project(project_id: UUID) -> None:
    """Make one project as it was created; NoSuchProject, ProjectBusy."""
    async with record() as projects:
        await projects.reset(project_id)


async def delete_project(project_id: UUID) -> None:
    """Delete one project; NoSuchProject, ProjectBusy."""
    async with record() as projects:
        await projects.delete(project_id)


def _fields(project: Project, now: datetime) -> dict[str, object]:
    return {
        "Id": project.id,
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
        "Made": moment(project.inserted_at, now),
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
