from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from projectsetup.projects import (
    NoSuchProject,
    Owner,
    Project,
    ProjectElsewhere,
    ProjectNotClaimable,
    ProjectOwned,
    ProjectStatus,
)
from projectsetup.projects.claims import refusal
from projectsetup.projects.model import IN_PROGRESS

ID = UUID("0a1b2c3d-0000-4000-8000-000000000000")
ME, OTHER = Owner("uid-1", "team-a", str(ID)), Owner("uid-2", "team-b", str(ID))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def project(status: ProjectStatus, owner: Owner | None = None, namespace: str | None = None) -> Project:
    return Project(ID, "App", "", "https://a.b/c", None, status, None, owner, 1, 7, None, NOW, NOW, namespace)


def refusal_of(status: ProjectStatus, owner: Owner | None, uid: str | None = ME.uid) -> type[Exception] | None:
    reason = refusal(ID, project(status, owner), uid, namespace=ME.namespace)
    return None if reason is None else type(reason)


@pytest.mark.parametrize(
    ("statuses", "owner", "mine", "others"),
    [
        *((("created", "failed"), owner, None, None) for owner in (None, ME, OTHER)),
        (("setup_queued",), None, None, None),
        (("setup_queued",), OTHER, ProjectOwned, ProjectOwned),
        (("setup_queued", *IN_PROGRESS), ME, None, ProjectOwned),
        (IN_PROGRESS, OTHER, ProjectOwned, ProjectOwned),
        (IN_PROGRESS, None, ProjectNotClaimable, ProjectNotClaimable),
        *((("ready",), owner, ProjectNotClaimable, ProjectNotClaimable) for owner in (None, ME, OTHER)),
    ],
)
def test_who_may_claim_a_project(
    statuses: Iterable[str], owner: Owner | None, mine: type[Exception] | None, others: type[Exception] | None
) -> None:
    """`mine`: the refusal for ME; `others`: that for an owner who is not known yet."""
    for status in map(ProjectStatus, statuses):
        assert (refusal_of(status, owner), refusal_of(status, owner, None)) == (mine, others)


@pytest.mark.parametrize("status", list(ProjectStatus))
@pytest.mark.parametrize("owner", [None, ME, OTHER])
@pytest.mark.parametrize("required", [False, True])
def test_a_project_of_another_namespace_is_always_refused(
    status: ProjectStatus, owner: Owner | None, required: bool
) -> None:
    foreign = project(status, owner, "team-b")
    refused = refusal(ID, foreign, ME.uid, namespace="team-a", namespace_required=required)
    assert isinstance(refused, ProjectElsewhere)
    assert str(refused) == (
        f"project {ID} belongs to another namespace; "
        "an administrator can move it with `projectsetup projects update --namespace`"
    )


@pytest.mark.parametrize("status", list(ProjectStatus))
@pytest.mark.parametrize("owner", [None, ME, OTHER])
def test_a_required_namespace_hides_projects_without_one(status: ProjectStatus, owner: Owner | None) -> None:
    unassigned = refusal(ID, project(status, owner), ME.uid, namespace="team-a", namespace_required=True)
    missing = refusal(ID, None, ME.uid, namespace="team-a", namespace_required=True)
    assert isinstance(unassigned, NoSuchProject)
    assert str(unassigned) == str(missing)
    assert "projects update --namespace" in str(missing)


def test_refusals_say_why_in_one_line() -> None:
    assert str(refusal(ID, None, ME.uid, namespace="team-a")) == f"there is no project {ID}"
    owned = refusal(ID, project(ProjectStatus.TESTING, OTHER), ME.uid, namespace="team-a")
    assert str(owned) == f"project {ID} is being set up by ProjectSetup team-b/{ID}"
    closed = refusal(ID, project(ProjectStatus.READY), ME.uid, namespace="team-a")
    assert str(closed) == f"project {ID} is ready; a setup can start from created, setup_queued or failed"
