"""What `setup` has to do, given resource and record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from projectsetup.api.constants import PRIORITY, RETRY_REQUESTED_AT
from projectsetup.api.models import ProjectSetupResource
from projectsetup.api.reasons import Reason
from projectsetup.cli.errors import CommandError
from projectsetup.cli.setups import Plan, SetupRequest, plan_setup, timestamp
from projectsetup.projects import (
    NoSuchProject,
    Owner,
    Project,
    ProjectElsewhere,
    ProjectNotClaimable,
    ProjectOwned,
    ProjectStatus,
)
from tests.support.setup_bodies import NAME, NOON, resource, status

ME, OTHER = Owner("uid-1", "team-a", NAME), Owner("uid-2", "team-b", NAME)
PRIORITY_3 = {PRIORITY: "3"}
RETRY = {RETRY_REQUESTED_AT: "2026-11-24T12:00:00.000000Z"}
QUEUED, RUNNING = resource(status(Reason.QUEUED)), resource(status(Reason.RUNNING))
FAILED, CANCELLED = resource(status(Reason.STEP_FAILED)), resource(status(Reason.CANCELLED))
SUCCEEDED = resource(status(Reason.SETUP_SUCCEEDED))


def project(state: str = "created", owner: Owner | None = None, namespace: str | None = None) -> Project:
    return Project(
        id=UUID(NAME), name="App", description="", code_repo="https://git.example/a", docs_repo=None,
        status=ProjectStatus(state), setup_error=None, owner=owner, attempt=0, fence=0, attempt_result=None,
        inserted_at=NOON, updated_at=NOON, namespace=namespace,
    )  # fmt: skip


def plan(there: ProjectSetupResource | None, record: Project | None, **wish: Any) -> Plan:
    return plan_setup(UUID(NAME), SetupRequest(**wish), there, record, NOON, namespace="team-a")


@pytest.mark.parametrize(
    "record", [project(), project("failed", OTHER), project("failed", ME), project("setup_queued")]
)
def test_without_a_resource_the_project_is_marked_and_one_is_made(record: Project) -> None:
    made = plan(None, record, annotations=PRIORITY_3)
    assert (made.mark, made.annotations) == (True, PRIORITY_3)


@pytest.mark.parametrize("there", [resource(), QUEUED, RUNNING])
@pytest.mark.parametrize("state", ["setup_queued", "testing", "failed", "ready"])
def test_a_setup_on_its_way_is_left_alone(there: ProjectSetupResource, state: str) -> None:
    made = plan(there, project(state, ME), annotations=PRIORITY_3)
    assert (made.mark, made.annotations) == (False, PRIORITY_3)
    assert made.outcome.startswith("is already in progress: ")


@pytest.mark.parametrize("record", [project(), project("setup_queued"), project("failed"), project("failed", OTHER)])
def test_a_resource_that_has_not_claimed_its_project_yet_gets_it_marked(record: Project) -> None:
    assert plan(QUEUED, record) == Plan(mark=True, annotations={}, outcome="already exists; project queued")


@pytest.mark.parametrize("there", [FAILED, CANCELLED])
@pytest.mark.parametrize(
    "record", [project("failed", ME), project("setup_queued"), project(), project("failed", OTHER)]
)
def test_after_a_failure_a_retry_is_asked_for(there: ProjectSetupResource, record: Project) -> None:
    made = plan(there, record, annotations=PRIORITY_3)
    assert (made.mark, made.annotations) == (True, PRIORITY_3 | RETRY)


@pytest.mark.parametrize("there", [None, QUEUED, FAILED])
@pytest.mark.parametrize("state", ["setup_queued", "initializing", "committing"])
def test_a_project_in_other_hands_is_refused_and_the_owner_named(
    there: ProjectSetupResource | None, state: str
) -> None:
    with pytest.raises(ProjectOwned, match=f"is being set up by ProjectSetup team-b/{NAME}"):
        plan(there, project(state, OTHER))


@pytest.mark.parametrize("there", [None, QUEUED, FAILED, SUCCEEDED])
@pytest.mark.parametrize("state", list(ProjectStatus))
def test_a_project_of_another_namespace_is_refused(there: ProjectSetupResource | None, state: str) -> None:
    with pytest.raises(ProjectElsewhere, match=f"^project {NAME} belongs to another namespace; "):
        plan(there, project(state, OTHER, "team-b"))
    with pytest.raises(ProjectElsewhere):
        plan(there, project(state, None, "team-b"))


@pytest.mark.parametrize("there", [None, QUEUED, FAILED, SUCCEEDED])
def test_a_project_that_is_ready_is_refused(there: ProjectSetupResource | None) -> None:
    with pytest.raises(ProjectNotClaimable, match="is ready; a setup can start from created, setup_queued or failed"):
        plan(there, project("ready", OTHER))


@pytest.mark.parametrize("there", [None, QUEUED, FAILED, SUCCEEDED])
def test_a_project_that_does_not_exist_is_refused(there: ProjectSetupResource | None) -> None:
    with pytest.raises(NoSuchProject):
        plan(there, None)


def test_a_resource_that_succeeded_for_an_earlier_project_of_that_id_has_to_go_first() -> None:
    with pytest.raises(CommandError, match=f"has already succeeded; .* kubectl delete projectsetup {NAME} -n team-a"):
        plan(SUCCEEDED, project())


def test_a_resource_that_is_being_deleted_is_waited_for() -> None:
    with pytest.raises(CommandError, match="is being deleted; try again when it is gone"):
        plan(resource(deletionTimestamp="2026-11-24T11:59:00Z"), project())


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ({"recipe": "other"}, "uses recipe python-service, which cannot be changed; .*kubectl delete projectsetup"),
        ({"parameters": {"license": "ISC"}}, "has other parameters, which cannot be changed; .*kubectl delete"),
        ({"parameters": {}}, "has other parameters"),
    ],
)
@pytest.mark.parametrize("told", [None, status(Reason.STEP_FAILED)])
def test_recipe_and_parameters_of_a_resource_cannot_be_changed(
    wish: dict[str, Any], problem: str, told: dict[str, Any] | None
) -> None:
    there = resource(told, spec={"parameters": {"license": "MIT", "other": "x"}})
    with pytest.raises(CommandError, match=problem):
        plan(there, project("setup_queued"), **wish)


def test_asking_for_what_is_there_changes_nothing() -> None:
    there = resource(spec={"parameters": {"license": "MIT"}})
    assert plan(there, project(), recipe="python-service", parameters={"license": "MIT"}).annotations == {}


def test_a_resource_whose_spec_cannot_be_read_is_retried_all_the_same() -> None:
    there = resource(status(Reason.INVALID_SPEC), spec={"timeout": "soon"})
    assert plan(there, project(), recipe="python-service").annotations == RETRY


def test_a_wish_names_only_what_was_said() -> None:
    assert SetupRequest().spec == {}
    assert SetupRequest(recipe="r", parameters={"a": "b"}).spec == {"recipe": "r", "parameters": {"a": "b"}}


def test_timestamps_are_utc_with_microseconds() -> None:
    at = datetime(2026, 11, 24, 13, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    assert timestamp(at) == "2026-11-24T12:00:00.000005Z"
    assert timestamp(datetime(2026, 11, 24, 12, tzinfo=UTC)) == "2026-11-24T12:00:00.000000Z"
