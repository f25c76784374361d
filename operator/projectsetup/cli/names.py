"""Which project a command means: an id is taken as it is, an exact name is looked up where the command works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final
from uuid import UUID

from projectsetup.cli.errors import CommandError
from projectsetup.cli.output import printable
from projectsetup.text import composed

if TYPE_CHECKING:  # each command imports only what it uses of cluster and record
    from projectsetup.kube.client import Body
    from projectsetup.kube.informer import ObjectKey
    from projectsetup.kube.setups import SetupClient
    from projectsetup.projects import Project, ProjectRecord

_MOST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class ProjectRef:
    """What a user typed for ID: the id of a project, or else (`id` None) its name."""

    text: str
    id: UUID | None

    @property
    def name(self) -> str:
        """The text as names are stored."""
        return composed(self.text.strip())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A project that a command could mean."""

    id: str
    name: str
    namespace: str | None

    @property
    def place(self) -> str:
        """The id, and where the project is."""
        return f"{self.id} ({self.namespace})" if self.namespace else self.id


def titled(name: str | None, project_id: object) -> str:
    """A project for people: the name beside the id, or the id alone while the name is unknown."""
    return f"{printable(name)} ({project_id})" if name else str(project_id)


def setup_title(namespace: str, name: str, project: str | None) -> str:
    """A ProjectSetup for people: its key as kubectl takes it, and the project's name if that is known."""
    return f"ProjectSetup {namespace}/{name}" + (f" ({printable(project)})" if project else "")


def choose(ref: ProjectRef, candidates: Sequence[Candidate], where: str) -> Candidate:
    """The only candidate with this id or name; CommandError, with candidates, if there are several or none.

    `where` says in the message where the candidates come from.
    """
    wanted = str(ref.id) if ref.id else ref.name
    matching = [each for each in candidates if wanted and wanted == (each.id if ref.id else each.name)]
    if len(matching) == 1:
        return matching[0]
    if not matching and ref.id:
        raise CommandError(f"no project has the id {ref.id} {where}")
    if not matching:
        raise CommandError(f"no project is named {printable(ref.name)!r} {where}{_suggestion(ref.name, candidates)}")
    if ref.id:
        namespaces = ", ".join(each.namespace or "" for each in matching)
        ambiguous = f"{len(matching)} projects have the id {ref.id} {where}"
        raise CommandError(f"{ambiguous}; use one of the namespaces: {namespaces}")
    ambiguous = f"{len(matching)} projects are named {printable(ref.name)!r} {where}"
    raise CommandError(f"{ambiguous}; use one of the ids: {_listed([each.place for each in matching])}")


async def find_setup(setups: SetupClient, ref: ProjectRef, namespace: str | None) -> ObjectKey:
    """The ProjectSetup of this project in the namespace, or in all (None); CommandError.

    An id in a namespace needs no request.
    """
    if ref.id is not None and namespace is not None:
        return namespace, str(ref.id)
    from projectsetup.api.models import parse_resource

    candidates: list[Candidate] = []

    def keep(body: Body) -> None:
        resource = parse_resource(body)
        candidates.append(Candidate(resource.name, resource.project_name or "", resource.namespace))

    await setups.visit(() if namespace is None else (namespace,), keep)
    found = choose(ref, candidates, "in any namespace" if namespace is None else f"in namespace {namespace}")
    return found.namespace or "", found.id


async def find_project_id(record: ProjectRecord, ref: ProjectRef) -> UUID:
    """The id itself, without a request; the id of the project with this name, or CommandError."""
    if ref.id is not None:
        return ref.id
    project = await record.named(ref.name)
    if project is not None:
        return project.id
    known = [Candidate(str(each.id), each.name, each.namespace) for each in await record.list()]
    return UUID(choose(ref, known, "in the database").id)


async def find_project(record: ProjectRecord, ref: ProjectRef) -> Project:
    """The project with this id or name; NoSuchProject, CommandError."""
    from projectsetup.projects import NoSuchProject

    project_id = await find_project_id(record, ref)
    project = await record.get(project_id)
    if project is None:
        raise NoSuchProject(project_id)
    return project


def _suggestion(text: str, candidates: Sequence[Candidate]) -> str:
    """Those with a similar name, with this text in their name, or with an id that begins with it."""
    folded = text.casefold()
    names = {each.name.casefold() for each in candidates if each.name}
    close = set(get_close_matches(folded, names, _MOST_SHOWN)) | {name for name in names if folded and folded in name}
    near = [each for each in candidates if each.name.casefold() in close or (folded and each.id.startswith(folded))]
    if near:
        shown = _listed([f"{printable(each.name)!r}, {each.place}" if each.name else each.place for each in near])
        return f"; did you mean {shown}?"
    return "; expected a UUID or an exact name"


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_SHOWN
    return "; ".join(texts[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
