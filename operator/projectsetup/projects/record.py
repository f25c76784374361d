"""The project record: what the rest of the operator may do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from projectsetup.git_hosts import ANY_HOST
from projectsetup.projects import statements
from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.claims import refusal
from projectsetup.projects.database import CALL_LIMIT, Database
from projectsetup.projects.errors import (
    DatabaseUnavailable,
    InvalidProject,
    NoSuchProject,
    ProjectBusy,
    ProjectMoved,
    UniqueViolation,
)
from projectsetup.projects.table import CODE_REPO_KEY, DOCS_REPO_KEY, NAME_KEY, PRIMARY_KEY, REPOS_CHECK, project_from
from projectsetup.projects.validation import check_description, check_name, check_namespace, check_repository_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from projectsetup.git_hosts import GitHosts
    from projectsetup.projects.errors import Trouble
    from projectsetup.projects.model import Owner, Project, ProjectStatus
    from projectsetup.projects.statements import Statement

_TRIES = 3
_TWO_REPOSITORIES = "code_repo and docs_repo must be two repositories"
_FIELDS = {PRIMARY_KEY: "id", NAME_KEY: "name", CODE_REPO_KEY: "code_repo", DOCS_REPO_KEY: "docs_repo"}


class ProjectRecord:
    """All projects. Every method may raise DatabaseUnavailable; a write is one statement and never half done.

    A write that ended in DatabaseUnavailable may or may not have taken place: `get` tells.
    """

    def __init__(self, database: Database, *, namespace_required: bool = False) -> None:
        """With `namespace_required` nobody may claim a project that belongs to no namespace."""
        self._database = database
        self._namespace_required = namespace_required

    @classmethod
    def connect(
        cls,
        database: str | DatabaseAddress,
        *,
        call_limit: float = CALL_LIMIT,
        on_trouble: Callable[[Trouble], None] = lambda _: None,
        namespace_required: bool = False,
    ) -> Self:
        """Checks a URL (raises InvalidDatabaseUrl); the first call connects. Each call has `call_limit` seconds.

        `on_trouble` is told of each call that the database does not answer.
        """
        address = DatabaseAddress.parse(database) if isinstance(database, str) else database
        opened = Database(address, call_limit=call_limit, on_trouble=on_trouble)
        return cls(opened, namespace_required=namespace_required)

    async def close(self) -> None:
        """Closes all connections."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ping(self) -> None:
        """Returns when the database answers, has the tables this version needs and lets us write to them."""
        await self._database.rows(statements.PROBE)

    async def try_write(self) -> None:
        """Returns when a write would pass. Changes nothing, but costs the server what a write costs."""
        await self.ping()
        await self._database.rows(statements.TRY_WRITE)

    async def get(self, project_id: UUID) -> Project | None:
        """The project, or None."""
        return await self._one(statements.BY_ID, at_id=project_id)

    async def list(self) -> tuple[Project, ...]:
        """Every project, oldest first."""
        return await self._all(statements.ALL)

    async def owned(self) -> tuple[Project, ...]:
        """Every project with an owner whose setup has not ended: the owner may be gone meanwhile."""
        return await self._all(statements.OWNED)

    async def create(
        self,
        *,
        name: str,
        code_repo: str,
        docs_repo: str | None = None,
        description: str = "",
        project_id: UUID | None = None,
        namespace: str | None = None,
        allow_file_repos: bool = False,
        git_hosts: GitHosts = ANY_HOST,
    ) -> Project:
        """A new project, status `created`. Raises InvalidProject: one line that names the field."""
        _check_repositories(code_repo, docs_repo, allow_file=allow_file_repos, hosts=git_hosts)
        values = {"id": project_id or uuid4(), **_checked(name, description, code_repo, docs_repo, namespace)}
        try:
            return (await self._all(statements.CREATE, **values))[0]
        except UniqueViolation as exc:
            raise InvalidProject(_clash(exc.constraint, values)) from exc

    async def update(
        self,
        project_id: UUID,
        *,
        name: str | None = None,
        description: str | None = None,
        code_repo: str | None = None,
        docs_repo: str | None = None,
        namespace: str | None = None,
        allow_file_repos: bool = False,
        git_hosts: GitHosts = ANY_HOST,
    ) -> Project:
        """Changes what is given; an empty `docs_repo` takes it away. The fence moves on.

        A project that moves to another namespace forgets its owner. Raises InvalidProject, NoSuchProject, and
        ProjectBusy while it is being set up.
        """
        _check_repositories(code_repo, docs_repo or None, allow_file=allow_file_repos, hosts=git_hosts)
        for _ in range(_TRIES):
            project = await self.get(project_id)
            if project is None:
                raise NoSuchProject(project_id)
            values = _checked(
                project.name if name is None else name,
                project.description if description is None else description,
                project.code_repo if code_repo is None else code_repo,
                (project.docs_repo if docs_repo is None else docs_repo) or None,
                project.namespace if namespace is None else namespace,
            )
            changes = {f"to_{field}": value for field, value in values.items()}
            try:
                changed = await self._one(statements.CHANGE, at_id=project_id, at_fence=project.fence, **changes)
            except UniqueViolation as exc:
                raise InvalidProject(_clash(exc.constraint, values)) from exc
            if changed is not None:
                return changed
            if project.being_set_up:
                raise ProjectBusy(project_id, project.status)
        raise DatabaseUnavailable(f"project {project_id} changes too fast to be changed")

    async def reset(self, project_id: UUID) -> Project:
        """Makes the project `created` again, without owner, error, attempt and result; the fence moves on.

        Raises NoSuchProject, and ProjectBusy while it is being set up.
        """
        return await self._change(project_id, statements.RESET, lambda project: _busy(project_id, project))

    async def delete(self, project_id: UUID) -> None:
        """Deletes the project. Raises NoSuchProject, and ProjectBusy while it is being set up."""
        await self._change(project_id, statements.REMOVE, lambda project: _busy(project_id, project))

    async def queue(self, project_id: UUID, namespace: str) -> Project:
        """Marks the project `setup_queued` for whichever ProjectSetup of `namespace` claims it next.

        Its last owner is forgotten; the attempt and its result stay until that claim. Raises ClaimRefused.
        """
        return await self._change(
            project_id,
            statements.QUEUE,
            lambda project: refusal(project_id, project, None, namespace=namespace),
            at_namespace=namespace,
        )

    async def claim(
        self, project_id: UUID, owner: Owner, *, attempt: int, status: ProjectStatus, seen: int | None = None
    ) -> Project:
        """Makes `owner` the one who sets the project up, and moves the fence on; the fence is in the returned project.

        The project belongs to the owner's namespace from then on. Clears the error and the result of the attempt
        before. `seen` is the fence of the project as it was read: who
        has read it before another operator claimed it changes nothing. Raises ClaimRefused (NoSuchProject,
        ProjectElsewhere, ProjectNotClaimable, ProjectOwned, ProjectMoved).
        """

        def refused(project: Project | None) -> Exception | None:
            reason = refusal(
                project_id,
                project,
                owner.uid,
                namespace=owner.namespace,
                namespace_required=self._namespace_required,
            )
            if reason is None and project is not None and seen not in {None, project.fence}:
                return ProjectMoved(project_id)
            return reason

        return await self._change(
            project_id,
            statements.CLAIM,
            refused,
            at_owner_uid=owner.uid,
            at_fence=seen,
            at_namespace=owner.namespace,
            at_namespace_required=self._namespace_required,
            to_owner_name=owner.name,
            to_attempt=attempt,
            to_status=status,
        )

    async def mark(self, project_id: UUID, fence: int, status: ProjectStatus) -> bool:
        """Moves the status of a running attempt on. False: the fence has moved on, nothing was changed."""
        return bool(await self._database.rows(statements.MARK, at_id=project_id, at_fence=fence, to_status=status))

    async def finish(
        self,
        project_id: UUID,
        fence: int,
        *,
        status: ProjectStatus,
        setup_error: Mapping[str, Any] | None,
        result: Mapping[str, Any],
        attempt: int | None = None,
    ) -> bool:
        """Records the end of an attempt and moves the fence on; the owner stays. `attempt` corrects its number.

        False: the fence has moved on, nothing was changed. That is also the answer to a second `finish`, and to one
        repeated after DatabaseUnavailable whose first try did take place.
        """
        finished = await self._database.rows(
            statements.FINISH,
            at_id=project_id,
            at_fence=fence,
            to_status=status,
            to_setup_error=None if setup_error is None else Jsonb(setup_error),
            to_attempt_result=Jsonb(result),
            to_attempt=attempt,
        )
        return bool(finished)

    async def release(self, project_id: UUID, owner_uid: str, *, seen: int | None = None) -> Project | None:
        """Takes the project from an owner that is deleted or gone, and moves the fence on.

        `ready` and `failed` stay as they are; anything else becomes `created`, without error, attempt and result, so
        that another ProjectSetup may start it. Returns the released project; None: that owner does not hold it, or the
        fence is no longer the one that was `seen`.
        """
        return await self._one(statements.RELEASE, at_id=project_id, at_owner_uid=owner_uid, at_fence=seen)

    async def _change(
        self,
        project_id: UUID,
        statement: Statement,
        refused: Callable[[Project | None], Exception | None],
        **values: object,
    ) -> Project:
        """Carries the statement out, or says why it changed nothing, read after it. Races are tried again."""
        for _ in range(_TRIES):
            changed = await self._one(statement, at_id=project_id, **values)
            if changed is not None:
                return changed
            reason = refused(await self.get(project_id))
            if reason is not None:
                raise reason
        raise DatabaseUnavailable(f"project {project_id} changes too fast to be changed")

    async def _one(self, statement: Statement, **values: object) -> Project | None:
        projects = await self._all(statement, **values)
        return projects[0] if projects else None

    async def _all(self, statement: Statement, **values: object) -> tuple[Project, ...]:
        return tuple(project_from(row) for row in await self._database.rows(statement, **values))


def _busy(project_id: UUID, project: Project | None) -> Exception | None:
    if project is None:
        return NoSuchProject(project_id)
    return ProjectBusy(project_id, project.status) if project.being_set_up else None


def _checked(
    name: str, description: str, code_repo: str, docs_repo: str | None, namespace: str | None
) -> dict[str, str | None]:
    """The fields of a project as they are stored, its repositories having been checked alone; InvalidProject."""
    if docs_repo == code_repo:
        raise InvalidProject(_TWO_REPOSITORIES)
    return {
        "name": check_name(name),
        "description": check_description(description),
        "code_repo": code_repo,
        "docs_repo": docs_repo,
        "namespace": None if namespace is None else check_namespace(namespace),
    }


def _check_repositories(code_repo: str | None, docs_repo: str | None, *, allow_file: bool, hosts: GitHosts) -> None:
    for field, url in (("code_repo", code_repo), ("docs_repo", docs_repo)):
        if url is None:
            continue
        try:
            check_repository_url(url, allow_file=allow_file, hosts=hosts)
        except InvalidProject as exc:
            raise InvalidProject(f"{field}: {exc}") from exc


def _clash(constraint: str, values: Mapping[str, Any]) -> str:
    if constraint == REPOS_CHECK:
        return _TWO_REPOSITORIES
    field = _FIELDS.get(constraint)
    if field is None:
        return f"the project clashes with another one ({constraint})"
    return f"another project has this {field} already: {values[field]}"
