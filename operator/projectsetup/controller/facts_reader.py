"""Reads the facts about one ProjectSetup."""

from __future__ import annotations

import random
import secrets
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from projectsetup.api.models import ProjectSetupResource
from projectsetup.controller.claims import hiding
from projectsetup.controller.database_health import DatabaseHealth
from projectsetup.controller.dependencies import Missing, MissingDependencies
from projectsetup.controller.facts import Facts, RecipePlan, RecordRead, RecordUnavailable
from projectsetup.controller.lifecycle import needs_record
from projectsetup.controller.ports import Cluster
from projectsetup.controller.runs import Runs
from projectsetup.controller.slots import Slots
from projectsetup.controller.workqueue import Key
from projectsetup.engines.base import Engine
from projectsetup.git_hosts import GitHosts
from projectsetup.kube.errors import ApiForbidden
from projectsetup.projects.errors import DatabaseUnavailable, InvalidProject
from projectsetup.projects.model import Project
from projectsetup.projects.record import ProjectRecord
from projectsetup.projects.validation import check_repository_url
from projectsetup.recipes.errors import RecipeError, RecipesUnavailable, UnknownRecipe
from projectsetup.recipes.loader import RecipeBook
from projectsetup.recipes.model import Recipe
from projectsetup.setup.credentials import GitCredentials, InvalidCredentials

TOKEN_LENGTH = 7
"""Random letters in the name of a run; with them, the name of a Job just fits the limit of Kubernetes."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of an attempt.

    `problem` says in one line what is wrong with the request, `obstacle` which infrastructure problem would break the
    attempt at once. `missing` is the recipe or Secret that does not exist.
    """

    recipe: Recipe | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    credentials: GitCredentials | None = None
    problem: str | None = None
    missing: Missing | None = None
    obstacle: str | None = None


@dataclass(slots=True)
class ClaimedProjects:
    """The projects as this operator has claimed them, or read them to claim them, so that it need not read them again.

    An entry may be outdated, but whoever changed the project since has moved its fence. So entries may only lead to
    writes under their fence: forget the entry before each such write, and read the project again if the write fails.
    """

    _projects: dict[Key, tuple[str, Project]] = field(default_factory=dict)

    def claimed(self, key: Key, uid: str, project: Project) -> None:
        """Remember the project that the ProjectSetup with this key and uid has claimed, or claims next."""
        self._projects[key] = (uid, project)

    def get(self, key: Key, uid: str) -> Project | None:
        """The project as its claim left it; None if it must be read."""
        owner, project = self._projects.get(key, ("", None))
        return project if owner == uid else None

    def forget(self, key: Key) -> None:
        """Drop the project: it is about to change, or no longer of interest."""
        self._projects.pop(key, None)


@dataclass(slots=True)
class FactsReader:
    """Reads record, recipe, Secret and the state of this operator."""

    cluster: Cluster
    record: ProjectRecord
    database: DatabaseHealth
    recipes: RecipeBook
    runs: Runs
    slots: Slots
    engine: Engine
    allow_file_repos: bool
    git_hosts: GitHosts
    dependencies: MissingDependencies
    dependency_limit: timedelta
    namespace_required: bool = False
    """Whether projects without a namespace are hidden from every ProjectSetup."""
    projects_from_spec: bool = True
    """Whether the operator creates projects from `spec.project`."""
    claimed: ClaimedProjects = field(default_factory=ClaimedProjects)

    async def read(
        self,
        resource: ProjectSetupResource,
        *,
        last_progress_write: datetime | None,
        prepared_fence: int | None,
        owner_is_active: bool,
        creation_problem: str | None = None,
    ) -> tuple[Facts, Inputs]:
        """All facts about `resource`, and the inputs for an attempt."""
        run = self.runs.view(resource.project_id, resource.uid)
        record = await self._record(resource) if needs_record(resource, run) else None
        project = record.project if isinstance(record, RecordRead) else None
        inputs = Inputs()
        if run is None and project is not None and resource.status.run_ref is None:
            inputs = await self._inputs(resource, project)
        slot = self.slots.holds(resource.key, resource.recipe)
        facts = Facts(
            resource=resource,
            now=datetime.now(UTC),
            run=run,
            record=record,
            projects_from_spec=self.projects_from_spec,
            creation_problem=creation_problem,
            recipe=self._plan(resource, inputs),
            input_problem=inputs.problem,
            missing_dependency=inputs.missing.message if inputs.missing else None,
            dependency_limit=self.dependency_limit,
            slot=slot,
            engine=self.engine.name,
            engine_outlives_operator=self.engine.outlives_operator,
            last_progress_write=last_progress_write,
            prepared_fence=prepared_fence,
            jitter=random.random(),  # noqa: S311  # jitter needs no secrecy
            token=_token() if slot else "",
            owner_is_active=owner_is_active,
        )
        return facts, inputs

    async def _record(self, resource: ProjectSetupResource) -> RecordRead | RecordUnavailable:
        if self.database.problem is not None:
            return RecordUnavailable(self.database.problem)
        if (claimed := self.claimed.get(resource.key, resource.uid)) is not None:
            return RecordRead(claimed)
        try:
            project = await self.record.get(resource.project_id)
        except DatabaseUnavailable as error:
            self.database.mark_down(str(error))
            return RecordUnavailable(str(error))
        hidden = hiding(resource, project, namespace_required=self.namespace_required)
        return RecordRead(project) if hidden is None else RecordRead(None, hidden, exists=project is not None)

    async def _inputs(self, resource: ProjectSetupResource, project: Project) -> Inputs:
        if resource.spec is None:
            return Inputs()
        try:
            recipe = self.recipes.get(resource.spec.recipe)
            parameters = recipe.check_parameters(dict(resource.spec.parameters))
            repositories = tuple(filter(None, (project.code_repo, project.docs_repo)))
            for url in repositories:
                check_repository_url(url, allow_file=self.allow_file_repos, hosts=self.git_hosts)
            credentials = await self._credentials(resource)
            if credentials is not None:
                credentials.check_hosts(repositories)
        except (UnknownRecipe, RecipesUnavailable) as error:
            return Inputs(missing=Missing.recipe(resource.spec.recipe, str(error)))
        except _SecretMissing as error:
            return Inputs(recipe, parameters, missing=error.missing)
        except ApiForbidden as error:
            because = f"the operator may not read the credentials Secret: {error}"
            return Inputs(recipe, parameters, obstacle=because if self.engine.needs_credentials else None)
        except (RecipeError, InvalidProject, InvalidCredentials) as error:
            return Inputs(problem=str(error))
        return Inputs(recipe, parameters, credentials)

    async def _credentials(self, resource: ProjectSetupResource) -> GitCredentials | None:
        """Read the Secret; only for a resource that holds a slot, or that waits for the Secret to exist."""
        secret = resource.credentials_secret
        waits = resource.status.dependency_missing_since is not None
        if secret is None or not (waits or self.slots.holds(resource.key, resource.recipe)):
            return None
        missing = Missing.secret(resource.namespace, secret)
        if self.dependencies.lacks(missing):
            raise _SecretMissing(missing)
        data = await self.cluster.get_secret(resource.namespace, secret)
        if data is None:
            raise _SecretMissing(missing)
        return GitCredentials.from_secret(data)

    async def credentials_of_run(self, resource: ProjectSetupResource) -> GitCredentials | None:
        """The credentials of a run that another operator started; None if it has none or this one cannot read them."""
        secret = resource.credentials_secret
        if secret is None:
            return None
        try:
            data = await self.cluster.get_secret(resource.namespace, secret)
            return None if data is None else GitCredentials.from_secret(data)
        except (ApiForbidden, InvalidCredentials):
            return None

    def recipe_digest(self, resource: ProjectSetupResource) -> str | None:
        """Identifies the recipe as it is now; None if it cannot be read."""
        try:
            return self.recipes.get(resource.spec.recipe).digest if resource.spec else None
        except RecipeError:
            return None

    def _plan(self, resource: ProjectSetupResource, inputs: Inputs) -> RecipePlan:
        if inputs.recipe is None or resource.spec is None:
            return RecipePlan()
        digest = None
        if self.slots.holds(resource.key, resource.recipe):
            digest = self.engine.digest(inputs.recipe, resource.spec.timeout.total_seconds())
        first = inputs.recipe.steps[0]
        return RecipePlan(first.name, str(first.status), len(inputs.recipe.steps), digest)


def _token() -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(TOKEN_LENGTH))


class _SecretMissing(Exception):
    """The Secret with the credentials does not exist."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing.message)
        self.missing = missing
