"""The project record: every operation on projects."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from projectsetup.git_hosts import ANY_HOST
from projectsetup.projects import statements
from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.claims import refusal
from projectsetup.projects.database import CALL_LIMIT, Database
from projectsetup.projects.errors import (
    AlreadyTaken,
    DatabaseUnavailable,
    InvalidProject,
    NoSuchProject,
    ProjectBusy,
    ProjectMoved,
    UniqueViolation,
)
from projectsetup.projects.history import History, PastAttempt
from projectsetup.projects.logs import SetupLogs
from projectsetup.projects.model import Project
from projectsetup.projects.requests import SetupRequests
from projectsetup.projects.table import CODE_REPO_KEY, DOCS_REPO_KEY, NAME_KEY, PRIMARY_KEY, REPOS_CHECK
from projectsetup.projects.validation import check_description, check_name, check_namespace, check_repository_url
from projectsetup.text import composed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from projectsetup.git_hosts import GitHosts
    from projectsetup.projects.errors import DatabaseErrorKind
    from projectsetup.projects.model import Owner, ProjectStatus
    from projectsetup.projects.statements import Statement

_TRIES = 3
_TWO_REPOSITORIES = "code_repo and docs_repo must be different repositories"
_REPOSITORIES = ("code_repo", "docs_repo")
_FIELDS = {PRIMARY_KEY: "id", NAME_KEY: "name", CODE_REPO_KEY: "code_repo", DOCS_REPO_KEY: "docs_repo"}


class ProjectRecord:
    """All projects. Every method may raise DatabaseUnavailable. Each write is one statement, so it is atomic.

    A write that raised DatabaseUnavailable may have taken place; call `get` to find out.
    """

    def __init__(self, database: Database, *, namespace_required: bool = False) -> None:
        """With `namespace_required`, a project without a namespace cannot be claimed."""
        self._database = database
        self._namespace_required = namespace_required

    @classmethod
    def connect(
        cls,
        database: str | DatabaseAddress,
        *,
        call_limit: float = CALL_LIMIT,
        on_error: Callable[[DatabaseErrorKind], None] = lambda _: None,
        namespace_required: bool = False,
    ) -> Self:
        """Check the URL (raises InvalidDatabaseUrl); the first call connects. Each call has `call_limit` seconds.

        `on_error` is called for each call that ends in DatabaseUnavailable.
        """
        address = DatabaseAddress.parse(database) if isinstance(database, str) else database
        opened = Database(address, call_limit=call_limit, on_error=on_error)
        return cls(opened, namespace_required=namespace_required)

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def logs(self) -> SetupLogs:
        """The logs of attempts, on the same connections."""
        return SetupLogs(self._database)

    def history(self) -> History:
        """The attempts that have ended, on the same connections."""
        return History(self._database)

    def setup_requests(self) -> SetupRequests:
        """The requests of applications, on the same connections."""
        return SetupRequests(self._database)

    async def ping(self) -> None:
        """Return if the database answers, has the tables of this version and grants write access to them."""
        await self._database.rows(statements.PROBE)

    async def try_write(self) -> None:
        """Return if a write would succeed. Changes nothing, but costs the server as much as a write."""
        await self.ping()
        await self._database.rows(statements.TRY_WRITE)

    async def get(self, project_id: UUID) -> Project | None:
        """The project, or None."""
        return await self._one(statements.BY_ID, at_id=project_id)

    async def named(self, name: str) -> Project | None:
        """The project with exactly this name, or None."""
        return await self._one(statements.BY_NAME, at_name=composed(name.strip()))

    async def list(self) -> tuple[Project, ...]:
        """Every project, oldest first."""
        return await self._all(statements.ALL)

    async def owned(self) -> tuple[Project, ...]:
        """Every project with an owner and an unfinished setup; the owner may have been deleted since."""
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
        """Create a project with status `created`. Raises InvalidProject, one line that names the field; AlreadyTaken
        if another project has the name or a repository.
        """
        _check_repositories(code_repo, docs_repo, allow_file=allow_file_repos, hosts=git_hosts)
        values = {"id": project_id or uuid4(), **_checked(name, description, code_repo, docs_repo, namespace)}
        try:
            return (await self._all(statements.CREATE, **values))[0]
        except UniqueViolation as exc:
            raise await self._clash(exc.constraint, values) from exc

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
        """Change the given fields; an empty `docs_repo` removes it. Increments the fence.

        A project that moves to another namespace loses its owner. Raises InvalidProject, NoSuchProject, and
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
                raise await self._clash(exc.constraint, values) from exc
            if changed is not None:
                return changed
            if project.being_set_up:
                raise ProjectBusy(project_id, project.status)
        raise DatabaseUnavailable(f"project {project_id} keeps changing; try again")

    async def reset(self, project_id: UUID) -> Project:
        """Set the project back to `created`, without owner, error, attempt and result; increments the fence.

        Raises NoSuchProject, and ProjectBusy while it is being set up.
        """
        return await self._change(project_id, statements.RESET, lambda project: _busy(project_id, project))

    async def delete(self, project_id: UUID) -> Project:
        """Delete the project; returns it as it was. Raises NoSuchProject, and ProjectBusy while it is being set up."""
        return await self._change(project_id, statements.REMOVE, lambda project: _busy(project_id, project))

    async def queue(self, project_id: UUID, namespace: str) -> Project:
        """Mark the project `setup_queued` for the next claim by any ProjectSetup of `namespace`.

        Its last owner is removed; the attempt and its result stay until that claim. Raises ClaimRefused.
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
        """Claim the project for `owner` and increment the fence; returns the project with its new fence.

        The project belongs to the owner's namespace from then on. Clears the error and the result of the previous
        attempt. `seen` is the fence of the project as the caller read it; if it has moved on, nothing changes.
        Raises ClaimRefused (NoSuchProject, ProjectElsewhere, ProjectNotClaimable, ProjectOwned, ProjectMoved).
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
        """Set the status of a running attempt. False: the fence has moved on and nothing changed."""
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
        history: PastAttempt | None = None,
    ) -> bool:
        """Record the end of an attempt and increment the fence; the owner stays. `attempt` corrects its number.

        `history` is the attempt that ended; None if none was running.

        False: the fence has moved on and nothing changed. That is also the result of a repeated `finish` if the first
        one took place.
        """
        finished = await self._database.rows(
            statements.FINISH,
            at_id=project_id,
            at_fence=fence,
            to_status=status,
            to_setup_error=None if setup_error is None else Jsonb(setup_error),
            to_attempt_result=Jsonb(result),
            to_attempt=attempt,
            to_history=_rows(history),
        )
        return bool(finished)

    async def release(
        self, project_id: UUID, owner_uid: str, *, seen: int | None = None, history: PastAttempt | None = None
    ) -> Project | None:
        """Release the project from an owner that was deleted, and increment the fence.

        `ready` and `failed` stay; any other status becomes `created`, without error, attempt and result, so that
        another ProjectSetup can start. Returns the released project; None if that owner does not hold it or the fence
        is no longer `seen`. `history` is the attempt that the deletion has stopped.
        """
        return await self._one(
            statements.RELEASE, at_id=project_id, at_owner_uid=owner_uid, at_fence=seen, to_history=_rows(history)
        )

    async def _change(
        self,
        project_id: UUID,
        statement: Statement,
        refused: Callable[[Project | None], Exception | None],
        **values: object,
    ) -> Project:
        """Run the statement; if it changed nothing, read the project and raise why. Retries after races."""
        for _ in range(_TRIES):
            changed = await self._one(statement, at_id=project_id, **values)
            if changed is not None:
                return changed
            reason = refused(await self.get(project_id))
            if reason is not None:
                raise reason
        raise DatabaseUnavailable(f"project {project_id} keeps changing; try again")

    async def _clash(self, constraint: str, values: Mapping[str, Any]) -> InvalidProject:
        """Why the values clash with those of another project."""
        field = _FIELDS.get(constraint)
        if constraint == REPOS_CHECK:
            return InvalidProject(_TWO_REPOSITORIES)
        if field is None:
            return InvalidProject(f"the project conflicts with another one ({constraint})")
        holder = None
        with suppress(DatabaseUnavailable):  # it only makes the message better
            if field == "name":
                holder = await self._one(statements.BY_NAME, at_name=values[field])
            elif field in _REPOSITORIES:
                holder = await self._one(statements.BY_REPOSITORY, at_url=values[field])
        return AlreadyTaken(field, values[field], holder)

    async def _one(self, statement: Statement, **values: object) -> Project | None:
        projects = await self._all(statement, **values)
        return projects[0] if projects else None

    async def _all(self, statement: Statement, **values: object) -> tuple[Project, ...]:
        return tuple(Project.from_row(row) for row in await self._database.rows(statement, **values))


def _rows(attempt: PastAttempt | None) -> Jsonb:
    return Jsonb([] if attempt is None else [attempt.to_row()])


def _busy(project_id: UUID, project: Project | None) -> Exception | None:
    if project is None:
        return NoSuchProject(project_id)
    return ProjectBusy(project_id, project.status) if project.being_set_up else None


def _checked(
    name: str, description: str, code_repo: str, docs_repo: str | None, namespace: str | None
) -> dict[str, str | None]:
    """The fields as they are stored; the repositories were checked before. Raises InvalidProject."""
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
