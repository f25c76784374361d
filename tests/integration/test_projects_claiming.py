"""Claims of projects: which owners may set a project up, and which writes are accepted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import psycopg
import pytest

from projectsetup.projects import (
    ClaimRefused,
    NoSuchProject,
    Owner,
    Project,
    ProjectBusy,
    ProjectElsewhere,
    ProjectMoved,
    ProjectNotClaimable,
    ProjectOwned,
    ProjectRecord,
    ProjectStatus,
)
from projectsetup.projects.claims import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

ME, OTHER = Owner("uid-1", "team-a", "p"), Owner("uid-2", "team-a", "p")
FOREIGN = Owner("uid-3", "team-b", "p")
NAMESPACES, OWNERS = (None, "team-a", "team-b"), (None, ME, OTHER, FOREIGN)
CREATED, QUEUED, READY, FAILED = (ProjectStatus(s) for s in ("created", "setup_queued", "ready", "failed"))
INITIALIZING, TESTING = ProjectStatus.INITIALIZING, ProjectStatus.TESTING
ERROR = {"reason": "StepFailed", "step": "tests", "message": "2 failed"}


@pytest.fixture
async def project(record: ProjectRecord) -> Project:
    return await record.create(name="App", code_repo="https://git.example/app")


async def read(record: ProjectRecord, project_id: UUID) -> Project:
    found = await record.get(project_id)
    assert found is not None
    return found


async def claimed_by(record: ProjectRecord, project: Project, owner: Owner = ME) -> Project:
    return await record.claim(project.id, owner, attempt=1, status=INITIALIZING)


def set_row(database_url: str, status: ProjectStatus, owner: Owner | None, namespace: str | None = None) -> None:
    values = (status, namespace, *((owner.uid, owner.namespace, owner.name) if owner else (None, None, None)))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE projects"
            " SET status = %s, namespace = %s, owner_uid = %s, owner_namespace = %s, owner_name = %s, attempt = 2,"
            """ setup_error = '{"reason": "Old"}', attempt_result = '{"end": 1}'""",
            values,
        )


@pytest.mark.parametrize("required", [False, True])
async def test_claiming_and_the_rule_agree(project: Project, database_url: str, required: bool) -> None:
    async with ProjectRecord.connect(database_url, namespace_required=required) as record:
        for namespace, owner, status in product(NAMESPACES, OWNERS, ProjectStatus):
            set_row(database_url, status, owner, namespace)
            before = await read(record, project.id)
            expected = refusal(project.id, before, ME.uid, namespace=ME.namespace, namespace_required=required)
            if expected is None:
                claimed = await claimed_by(record, project)
                assert claimed == await read(record, project.id) == replace(
                    before, owner=ME, namespace=ME.namespace, status=INITIALIZING, attempt=1, setup_error=None,
                    attempt_result=None, fence=before.fence + 1, updated_at=claimed.updated_at,
                )  # fmt: skip
                assert await record.owned() == (claimed,)
            else:
                with pytest.raises(type(expected)) as caught:
                    await claimed_by(record, project)
                assert str(caught.value) == str(expected)
                assert await read(record, project.id) == before


async def test_queueing_and_the_rule_agree(record: ProjectRecord, project: Project, database_url: str) -> None:
    for namespace, owner, status in product(NAMESPACES, (None, OTHER, FOREIGN), ProjectStatus):
        set_row(database_url, status, owner, namespace)
        before = await read(record, project.id)
        expected = refusal(project.id, before, None, namespace=ME.namespace)
        if expected is None:
            queued = await record.queue(project.id, ME.namespace)
            assert (queued.status, queued.owner, queued.setup_error) == (QUEUED, None, None)
            assert (queued.attempt, queued.attempt_result, queued.fence) == (2, before.attempt_result, before.fence + 1)
            assert (await claimed_by(record, project)).owner == ME
        else:
            with pytest.raises(type(expected)):
                await record.queue(project.id, ME.namespace)
            assert await read(record, project.id) == before


@pytest.mark.parametrize("owner", [None, OTHER])
async def test_a_project_is_changed_unless_it_is_being_set_up(
    record: ProjectRecord, project: Project, database_url: str, owner: Owner | None
) -> None:
    busy = 0
    for status in ProjectStatus:
        set_row(database_url, status, owner, "team-a")
        before = await read(record, project.id)
        if before.being_set_up:
            busy += 1
            await refuses_changes(record, before)
        else:
            await accepts_changes(record, before, lambda: set_row(database_url, status, owner, "team-a"))  # noqa: B023
    assert 0 < busy < len(ProjectStatus)
    await record.delete(project.id)
    assert await record.list() == ()


async def refuses_changes(record: ProjectRecord, before: Project) -> None:
    for refused in (
        record.delete(before.id), record.reset(before.id), record.update(before.id, name="Other", namespace="team-b"),
    ):  # fmt: skip
        with pytest.raises(ProjectBusy, match=rf"being set up \({before.status}\); cancel its setup first"):
            await refused
    assert await read(record, before.id) == before


async def accepts_changes(record: ProjectRecord, before: Project, restore: Callable[[], None]) -> None:
    renamed = await record.update(before.id, name=" Other ", docs_repo="https://git.example/docs")
    assert renamed == replace(
        before, name="Other", docs_repo="https://git.example/docs",
        fence=before.fence + 1, updated_at=renamed.updated_at,
    )  # fmt: skip
    reset = await record.reset(before.id)
    assert reset == await read(record, before.id)
    assert reset == replace(
        renamed, status=CREATED, owner=None, attempt=0, setup_error=None, attempt_result=None,
        fence=renamed.fence + 1, updated_at=reset.updated_at,
    )  # fmt: skip
    restore()
    moved = await record.update(before.id, docs_repo="", namespace="team-b")
    expected = (None, "team-b", None, before.status)
    assert (moved.docs_repo, moved.namespace, moved.owner, moved.status) == expected
    with pytest.raises(ProjectElsewhere):
        await claimed_by(record, before)


async def test_a_claim_with_an_outdated_fence_changes_nothing(record: ProjectRecord, project: Project) -> None:
    before = await read(record, project.id)
    claimed = await record.claim(project.id, ME, attempt=1, status=INITIALIZING, seen=before.fence)
    with pytest.raises(ProjectMoved):
        await record.claim(project.id, ME, attempt=1, status=INITIALIZING, seen=before.fence)
    assert await record.release(project.id, ME.uid, seen=before.fence) is None
    assert await read(record, project.id) == claimed
    assert await record.release(project.id, ME.uid, seen=claimed.fence) is not None


async def test_refusals_say_what_they_found(record: ProjectRecord, project: Project) -> None:
    await claimed_by(record, project, OTHER)
    with pytest.raises(ProjectOwned) as owned:
        await claimed_by(record, project)
    assert owned.value.owner == OTHER
    fence = (await read(record, project.id)).fence
    await record.finish(project.id, fence, status=READY, setup_error=None, result={})
    for owner in (ME, OTHER):
        with pytest.raises(ProjectNotClaimable) as closed:
            await claimed_by(record, project, owner)
        assert closed.value.status is READY
    await record.delete(project.id)
    with pytest.raises(NoSuchProject):
        await claimed_by(record, project)
    with pytest.raises(NoSuchProject):
        await record.queue(project.id, ME.namespace)


async def test_exactly_one_of_many_concurrent_claims_wins(database_url: str, project: Project) -> None:
    owners = [Owner(f"uid-{number}", "team", f"p-{number}") for number in range(12)]
    async with ProjectRecord.connect(database_url) as one, ProjectRecord.connect(database_url) as two:
        for already in range(1, 6):
            claims = [
                (one, two)[n % 2].claim(project.id, o, attempt=1, status=INITIALIZING) for n, o in enumerate(owners)
            ]
            results = await asyncio.gather(*claims, return_exceptions=True)
            (winner,) = (result for result in results if isinstance(result, Project))
            assert winner.owner is not None
            losers = [result for result in results if isinstance(result, ProjectOwned)]
            assert [loser.owner for loser in losers] == [winner.owner] * 11
            assert winner.fence == 2 * already - 1
            await one.release(project.id, winner.owner.uid)


async def test_a_second_claim_of_the_same_owner_outdates_the_first(record: ProjectRecord, project: Project) -> None:
    first = await claimed_by(record, project)
    second = await record.claim(project.id, ME, attempt=2, status=QUEUED)
    assert (second.fence, second.attempt) == (first.fence + 1, 2)
    assert await record.mark(project.id, first.fence, TESTING) is False
    assert await record.finish(project.id, first.fence, status=FAILED, setup_error=ERROR, result=ERROR) is False
    assert await read(record, project.id) == second
    assert await record.mark(project.id, second.fence, TESTING) is True


async def test_mark_sets_the_status_and_keeps_the_fence(record: ProjectRecord, project: Project) -> None:
    claimed = await claimed_by(record, project)
    for status in (ProjectStatus.DEPS_INSTALLING, ProjectStatus.COMPILING, TESTING):
        assert await record.mark(project.id, claimed.fence, status) is True
        now = await read(record, project.id)
        assert now == replace(claimed, status=status, updated_at=now.updated_at)


async def test_only_the_first_finish_counts(record: ProjectRecord, project: Project) -> None:
    claimed = await claimed_by(record, project)
    ends = [
        record.finish(project.id, claimed.fence, status=FAILED, setup_error=ERROR, result={"end": number})
        for number in range(6)
    ]
    counted = await asyncio.gather(*ends)
    assert counted.count(True) == 1
    ended = await read(record, project.id)
    assert ended.attempt_result == {"end": counted.index(True)}
    assert (ended.status, ended.setup_error, ended.owner) == (FAILED, ERROR, ME)
    assert ended.fence == claimed.fence + 1
    assert await record.mark(project.id, claimed.fence, TESTING) is False
    assert await record.owned() == ()


async def test_backing_off_keeps_the_owner_and_the_result_until_the_next_attempt(
    record: ProjectRecord, project: Project
) -> None:
    claimed = await claimed_by(record, project)
    await record.finish(project.id, claimed.fence, status=QUEUED, setup_error=None, result={"outcome": "retry"})
    waiting = await read(record, project.id)
    assert (waiting.status, waiting.owner, waiting.attempt_result) == (QUEUED, ME, {"outcome": "retry"})
    with pytest.raises(ProjectOwned):
        await claimed_by(record, project, OTHER)
    again = await record.claim(project.id, ME, attempt=2, status=INITIALIZING)
    assert (again.attempt, again.attempt_result, again.setup_error) == (2, None, None)


async def test_an_attempt_can_be_released(record: ProjectRecord, project: Project) -> None:
    claimed = await record.claim(project.id, ME, attempt=3, status=INITIALIZING)
    await record.finish(project.id, claimed.fence, status=QUEUED, setup_error=None, result={}, attempt=2)
    assert (await read(record, project.id)).attempt == 2


@pytest.mark.parametrize("status", [QUEUED, INITIALIZING, TESTING])
async def test_a_released_setup_can_start_again(
    record: ProjectRecord, project: Project, database_url: str, status: ProjectStatus
) -> None:
    set_row(database_url, status, ME, ME.namespace)
    claimed = await read(record, project.id)
    released = await record.release(project.id, ME.uid)
    assert released is not None
    assert released == await read(record, project.id) == replace(
        claimed, status=CREATED, owner=None, attempt=0, setup_error=None, attempt_result=None,
        fence=claimed.fence + 1, updated_at=released.updated_at,
    )  # fmt: skip
    assert await record.mark(project.id, claimed.fence, TESTING) is False
    assert (await claimed_by(record, project, OTHER)).owner == OTHER


@pytest.mark.parametrize("status", [READY, FAILED])
async def test_releasing_a_finished_setup_keeps_its_result(
    record: ProjectRecord, project: Project, database_url: str, status: ProjectStatus
) -> None:
    set_row(database_url, status, ME, ME.namespace)
    ended = await read(record, project.id)
    released = await record.release(project.id, ME.uid)
    assert released is not None
    assert released == replace(ended, owner=None, fence=ended.fence + 1, updated_at=released.updated_at)


async def test_only_the_owner_can_be_released(record: ProjectRecord, project: Project) -> None:
    assert await record.release(project.id, ME.uid) is None
    claimed = await claimed_by(record, project, OTHER)
    assert await record.release(project.id, ME.uid) is None
    assert await read(record, project.id) == claimed


async def test_one_owner_at_a_time_under_concurrency(database_url: str, project: Project) -> None:
    """Owners claim, work, end and are released at random; a mark that counts never meets another's claim."""
    async with ProjectRecord.connect(database_url) as record:

        async def work(owner: Owner) -> int:
            counted = 0
            for attempt in range(1, 9):
                try:
                    claimed = await record.claim(project.id, owner, attempt=attempt, status=INITIALIZING)
                except ClaimRefused:
                    continue
                if await record.mark(project.id, claimed.fence, TESTING):
                    now = await read(record, project.id)
                    assert now.fence > claimed.fence or (now.owner, now.status) == (owner, TESTING)
                if attempt % 3 == 0:
                    await record.release(project.id, owner.uid)
                counted += await record.finish(
                    project.id, claimed.fence, status=FAILED, setup_error=ERROR, result={"uid": owner.uid}
                )
            return counted

        counts = await asyncio.gather(*(work(Owner(f"uid-{number}", "team", "p")) for number in range(6)))
        assert sum(counts) > 0
        last = await read(record, project.id)
        assert last.fence >= 2 * sum(counts)
