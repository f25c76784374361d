"""The order of the writes of `setup`, and what is left when one of them fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from projectsetup.api.constants import PRIORITY
from projectsetup.api.reasons import Reason
from projectsetup.cli.cluster import NoSuchSetup, Setups
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.setups import SetupCall, SetupRequest
from projectsetup.kube.errors import ApiRejected, ApiUnavailable, ClusterError
from projectsetup.projects import Owner, Project, ProjectOwned, ProjectRecord, ProjectStatus
from tests.support.setup_bodies import NAME, NOON, body, status

CALL = SetupCall(UUID(NAME), "team-a", SetupRequest(annotations={PRIORITY: "3"}))
CREATED = Project(
    id=UUID(NAME), name="App", description="", code_repo="https://git.example/a", docs_repo=None,
    status=ProjectStatus.CREATED, setup_error=None, owner=None, attempt=0, fence=0, attempt_result=None,
    inserted_at=NOON, updated_at=NOON,
)  # fmt: skip
ME, OTHER = Owner("uid-1", "team-a", NAME), Owner("uid-2", "team-b", NAME)


class World:
    """Cluster and record at once; writes down what is done to it, and fails where it is told to."""

    def __init__(self, there: dict[str, Any] | None = None, project: Project = CREATED, **failures: Exception) -> None:
        self._there = there
        self._project = project
        self._failures = failures
        self.done: list[str] = []

    async def find(self, _namespace: str, _name: str) -> dict[str, Any] | None:
        return self._there

    async def get(self, _project_id: UUID) -> Project:
        return self._project

    async def apply(self, *_: str, dry_run: bool, **__: object) -> dict[str, Any]:
        self._do("dry_apply" if dry_run else "apply")
        return body()

    async def annotate(self, *_: object, dry_run: bool) -> dict[str, Any]:
        self._do("dry_annotate" if dry_run else "annotate")
        return body()

    async def queue(self, _project_id: UUID, _namespace: str) -> Project:
        self._do("mark")
        return self._project

    def _do(self, what: str) -> None:
        self.done.append(what)
        if what in self._failures:
            raise self._failures[what]


async def start(world: World, call: SetupCall = CALL) -> str:
    _, says = await call.start(cast("Setups", world), cast("ProjectRecord", world))
    return says


async def test_the_project_is_marked_between_the_trial_and_the_write() -> None:
    world = World()
    assert await start(world) == "created; project queued"
    assert world.done == ["dry_apply", "mark", "apply"]


async def test_what_exists_is_changed_by_its_annotations_alone() -> None:
    world = World(body())
    await start(world)
    assert world.done == ["dry_annotate", "mark", "annotate"]


async def test_where_nothing_is_to_be_changed_nothing_is_written() -> None:
    world = World(body(status(Reason.RUNNING)), replace(CREATED, status=ProjectStatus.TESTING, owner=ME))
    assert (await start(world, SetupCall(UUID(NAME), "team-a", SetupRequest()))).startswith("is already in progress")
    assert world.done == []


@pytest.mark.parametrize("error", [ApiRejected("no"), ApiUnavailable("away")])
async def test_what_fails_at_the_trial_marks_nothing(error: ClusterError) -> None:
    world = World(dry_apply=error)
    with pytest.raises(type(error)):
        await start(world)
    assert world.done == ["dry_apply"]


@pytest.mark.parametrize(
    ("error", "code"), [(ApiRejected("no"), ExitCode.BAD_INPUT), (ApiUnavailable("away"), ExitCode.UNREACHABLE)]
)
async def test_what_fails_after_the_mark_says_what_is_left(error: ClusterError, code: ExitCode) -> None:
    with pytest.raises(
        CommandError, match=f"{error}; the project is already marked setup_queued, so run setup again"
    ) as caught:
        await start(World(apply=error))
    assert caught.value.code == code


async def test_a_failure_without_a_mark_stays_as_it_is() -> None:
    world = World(
        body(status(Reason.RUNNING)),
        replace(CREATED, status=ProjectStatus.TESTING, owner=ME),
        annotate=ApiUnavailable("away"),
    )
    with pytest.raises(ApiUnavailable, match=r"^away$"):
        await start(world)


async def test_an_operator_that_claims_the_project_for_this_resource_meanwhile_is_no_refusal() -> None:
    world = World(body(), mark=ProjectOwned(UUID(NAME), ME))
    await start(world)
    assert world.done == ["dry_annotate", "mark", "annotate"]


@pytest.mark.parametrize(("there", "owner"), [(body(), OTHER), (None, ME)])
async def test_a_claim_of_another_meanwhile_is_a_refusal(there: dict[str, Any] | None, owner: Owner) -> None:
    world = World(there, mark=ProjectOwned(UUID(NAME), owner))
    with pytest.raises(ProjectOwned):
        await start(world)
    assert world.done[-1] == "mark"


async def test_a_resource_that_is_deleted_meanwhile_is_made_anew() -> None:
    world = World(body(), annotate=NoSuchSetup("team-a", NAME))
    await start(world)
    assert world.done == ["dry_annotate", "mark", "annotate", "apply"]
