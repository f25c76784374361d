"""What `setup` decides and writes, in which order, and what is left when a write fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from projectsetup.api.constants import PRIORITY, RETRY_REQUESTED_AT
from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import Reason
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.setups import Plan, SetupCall, SetupRequest, plan_setup
from projectsetup.kube.errors import ApiRejected, ApiUnavailable, ClusterError, SetupNotFound
from projectsetup.kube.setups import SetupClient
from projectsetup.projects import (
    ClaimRefused,
    NoSuchProject,
    Owner,
    Project,
    ProjectElsewhere,
    ProjectNotClaimable,
    ProjectOwned,
    ProjectRecord,
    ProjectStatus,
)
from tests.support import lifecycle_world
from tests.support.setup_bodies import NAME, NOON, body, resource, status

ME, OTHER = Owner("uid-1", "team-a", NAME), Owner("uid-2", "team-b", NAME)
PRIORITY_3 = {PRIORITY: "3"}
RETRY = {RETRY_REQUESTED_AT: "2026-11-24T12:00:00.000000Z"}
QUEUED, RUNNING = resource(status(Reason.QUEUED)), resource(status(Reason.RUNNING))
FAILED, CANCELLED = resource(status(Reason.STEP_FAILED)), resource(status(Reason.CANCELLED))
SUCCEEDED = resource(status(Reason.SETUP_SUCCEEDED))
REPLACE = f"delete it first: kubectl delete projectsetup {NAME} -n team-a"


def project(state: str = "created", owner: Owner | None = None, namespace: str | None = None) -> Project:
    return replace(lifecycle_world.project(state, owner, namespace=namespace), id=UUID(NAME))


def plan(existing: ProjectSetupResource | None, record: Project | None, **request: Any) -> Plan:
    return plan_setup(UUID(NAME), SetupRequest(**request), existing, record, NOON, namespace="team-a")


FREE = [project(), project("setup_queued"), project("failed", ME), project("failed", OTHER)]


@pytest.mark.parametrize("record", FREE)
@pytest.mark.parametrize(
    ("existing", "annotations", "outcome"),
    [
        (None, {}, "created; project queued"),
        (FAILED, RETRY, "starts a new series of attempts"),
        (CANCELLED, RETRY, "starts a new series of attempts"),
    ],
)
def test_a_free_project_is_marked(
    existing: ProjectSetupResource | None, record: Project, annotations: dict[str, str], outcome: str
) -> None:
    assert plan(existing, record, annotations=PRIORITY_3) == Plan(True, PRIORITY_3 | annotations, outcome)


@pytest.mark.parametrize("record", [project(), project("setup_queued"), project("failed"), project("failed", OTHER)])
def test_a_project_that_its_resource_has_not_claimed_yet_is_marked(record: Project) -> None:
    assert plan(QUEUED, record) == Plan(mark=True, annotations={}, outcome="already exists; project queued")


@pytest.mark.parametrize("existing", [resource(), QUEUED, RUNNING])
@pytest.mark.parametrize("state", ["setup_queued", "testing", "failed", "ready"])
def test_a_setup_in_progress_is_left_alone(existing: ProjectSetupResource, state: str) -> None:
    made = plan(existing, project(state, ME), annotations=PRIORITY_3)
    assert (made.mark, made.annotations) == (False, PRIORITY_3)
    assert made.outcome.startswith("is already in progress: ")


@pytest.mark.parametrize("existing", [None, QUEUED, FAILED, SUCCEEDED])
@pytest.mark.parametrize(
    ("record", "error", "text"),
    [
        (None, NoSuchProject, "there is no project"),
        (project("ready", OTHER), ProjectNotClaimable, "is ready; a setup can start from created, setup_queued"),
        *((project(s, OTHER), ProjectOwned, f"ProjectSetup team-b/{NAME}") for s in ("setup_queued", "committing")),
        *((project(s, OTHER, "team-b"), ProjectElsewhere, "belongs to another namespace; ") for s in ProjectStatus),
        *((project(s, None, "team-b"), ProjectElsewhere, "belongs to another namespace; ") for s in ProjectStatus),
    ],
)
def test_a_project_that_cannot_be_claimed_is_refused(
    existing: ProjectSetupResource | None, record: Project | None, error: type[ClaimRefused], text: str
) -> None:
    with pytest.raises(error, match=text):
        plan(existing, record)


@pytest.mark.parametrize(
    ("existing", "text"),
    [
        (SUCCEEDED, f"has already succeeded; to set the project up again, {REPLACE}"),
        (resource(deletionTimestamp="2026-11-24T11:59:00Z"), "is being deleted; try again when it is gone"),
    ],
)
def test_a_resource_that_must_go_first_is_refused(existing: ProjectSetupResource, text: str) -> None:
    with pytest.raises(CommandError, match=text):
        plan(existing, project())


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"recipe": "other"}, "uses recipe python-service, which cannot be changed; to use another recipe, "),
        ({"parameters": {"license": "ISC"}}, "has other parameters, which cannot be changed; to use these, "),
        ({"parameters": {}}, "has other parameters, which cannot be changed; to use these, "),
    ],
)
@pytest.mark.parametrize("state", [None, status(Reason.STEP_FAILED)])
def test_recipe_and_parameters_cannot_be_changed(
    request_: dict[str, Any], text: str, state: dict[str, Any] | None
) -> None:
    existing = resource(state, spec={"parameters": {"license": "MIT", "other": "x"}})
    with pytest.raises(CommandError, match=text + REPLACE):
        plan(existing, project("setup_queued"), **request_)


def test_the_same_recipe_and_parameters_change_nothing() -> None:
    existing = resource(spec={"parameters": {"license": "MIT"}})
    assert plan(existing, project(), recipe="python-service", parameters={"license": "MIT"}).annotations == {}


def test_a_resource_with_an_invalid_spec_is_retried_all_the_same() -> None:
    existing = resource(status(Reason.INVALID_SPEC), spec={"timeout": "soon"})
    assert plan(existing, project(), recipe="python-service").annotations == RETRY


class World:
    """Cluster and record at once; keeps a list of the writes, and fails those in `failures`."""

    def __init__(self, existing: Any = None, record: Project | None = None, **failures: Exception) -> None:
        self._existing = existing
        self._project = record or project()
        self._failures = failures
        self.writes: list[str] = []

    async def find(self, _namespace: str, _name: str) -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", self._existing)

    async def get(self, _project_id: UUID) -> Project:
        return self._project

    async def apply(self, *_: str, dry_run: bool, **__: object) -> dict[str, Any]:
        self._write("dry_apply" if dry_run else "apply")
        return body()

    async def change(self, *_: object, dry_run: bool) -> dict[str, Any]:
        self._write("dry_change" if dry_run else "change")
        return body()

    async def queue(self, _project_id: UUID, _namespace: str) -> Project:
        self._write("mark")
        return self._project

    def _write(self, what: str) -> None:
        self.writes.append(what)
        if what in self._failures:
            raise self._failures[what]

    async def start(self, **annotations: str) -> str:
        call = SetupCall(UUID(NAME), "team-a", SetupRequest(annotations=annotations))
        return (await call.start(cast("SetupClient", self), cast("ProjectRecord", self))).outcome


IN_PROGRESS = body(status(Reason.RUNNING)), replace(project("testing"), owner=ME)


@pytest.mark.parametrize(
    ("world", "writes"),
    [
        (World(), ["dry_apply", "mark", "apply"]),
        (World(body()), ["dry_change", "mark", "change"]),
        (World(*IN_PROGRESS), ["dry_change", "change"]),
        (World(body(), change=SetupNotFound("team-a", NAME)), ["dry_change", "mark", "change", "apply"]),
        (World(body(), mark=ProjectOwned(UUID(NAME), ME)), ["dry_change", "mark", "change"]),
    ],
    ids=["new", "existing", "in progress", "deleted meanwhile", "claimed by its own resource meanwhile"],
)
async def test_the_project_is_marked_between_the_dry_run_and_the_write(world: World, writes: list[str]) -> None:
    await world.start(**PRIORITY_3)
    assert world.writes == writes


async def test_nothing_is_written_if_nothing_changes() -> None:
    world = World(*IN_PROGRESS)
    await world.start()
    assert world.writes == []


@pytest.mark.parametrize("error", [ApiRejected("no"), ApiUnavailable("away")])
async def test_a_failed_dry_run_marks_nothing(error: ClusterError) -> None:
    world = World(dry_apply=error)
    with pytest.raises(type(error)):
        await world.start()
    assert world.writes == ["dry_apply"]


@pytest.mark.parametrize(
    ("error", "code"), [(ApiRejected("no"), ExitCode.BAD_INPUT), (ApiUnavailable("away"), ExitCode.UNREACHABLE)]
)
async def test_a_failure_after_the_mark_says_what_is_left(error: ClusterError, code: ExitCode) -> None:
    text = f"{error}; the project is already marked setup_queued, so run setup again"
    with pytest.raises(CommandError, match=text) as caught:
        await World(apply=error).start()
    assert caught.value.code == code


async def test_a_failure_without_a_mark_stays_as_it_is() -> None:
    with pytest.raises(ApiUnavailable, match=r"^away$"):
        await World(*IN_PROGRESS, change=ApiUnavailable("away")).start(**PRIORITY_3)


@pytest.mark.parametrize(("existing", "owner"), [(body(), OTHER), (None, ME)])
async def test_a_claim_by_another_resource_meanwhile_is_a_refusal(
    existing: dict[str, Any] | None, owner: Owner
) -> None:
    world = World(existing, mark=ProjectOwned(UUID(NAME), owner))
    with pytest.raises(ProjectOwned):
        await world.start()
    assert world.writes[-1] == "mark"
