"""Every attempt ends with an outcome, whenever it is stopped and whatever its engine does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.controller.outcome import AttemptStopped, RunOutcome, StopCause
from projectsetup.controller.runs import MARK_RETRY, Runs
from projectsetup.controller.workqueue import Key
from projectsetup.engines.base import Adoption, AttemptSpec, FindRun, LeftRunning
from projectsetup.kube.leader import SoleOperator
from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.database import Database
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.model import ProjectStatus
from projectsetup.projects.record import ProjectRecord
from projectsetup.recipes.model import Recipe
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.types import (
    InfrastructureError,
    Progress,
    ProgressCallback,
    SetupOutcome,
    SetupSucceeded,
)
from tests.support.job_attempts import make_attempt, make_recipe
from tests.support.virtual_time import in_virtual_time

FIRST, SECOND = Progress("compiling", "one", 0, 2), Progress("testing", "two", 1, 2)
NEVER = 86_400.0
FENCE = 7


class FakeEngine:
    """Runs each attempt for `seconds`, half of them per step, and then raises `error` if there is one."""

    name = "fake"
    outlives_operator = False
    needs_credentials = True

    def __init__(self, seconds: float = NEVER, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.started: list[int] = []

    def digest(self, _recipe: Recipe, _timeout: float) -> None:
        raise AssertionError("not used here")

    async def collect_garbage(self, find_run: FindRun) -> None:
        find_run("team", "name")

    async def run(
        self, attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, _leave: asyncio.Event, _log: AttemptLog
    ) -> SetupOutcome:
        self.started.append(attempt.number)
        on_progress(FIRST)
        await asyncio.sleep(self.seconds / 2)
        on_progress(SECOND)
        await asyncio.sleep(self.seconds / 2)
        if self.error is not None:
            raise self.error
        return SetupSucceeded()

    async def kill_all(self) -> None:
        self.seconds = 0


class SteppingEngine(FakeEngine):
    """Begins a step at each of these seconds."""

    def __init__(self, begins: Sequence[float]) -> None:
        super().__init__()
        self.begins = begins

    async def run(
        self, _attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, _leave: asyncio.Event, _log: AttemptLog
    ) -> SetupOutcome:
        before = 0.0
        for number, begin in enumerate(self.begins, 1):
            await asyncio.sleep(begin - before)
            on_progress(Progress("testing", f"step {number}", number, 10))
            before = begin
        return SetupSucceeded()


class LastingEngine(FakeEngine):
    """Its attempts outlive the operator; each takes a second to start, and raises LeftRunning when asked to leave."""

    outlives_operator = True

    def __init__(self) -> None:
        super().__init__()
        self.stopped: list[int] = []

    async def run(
        self, attempt: AttemptSpec | Adoption, _on_progress: ProgressCallback, leave: asyncio.Event, _log: AttemptLog
    ) -> SetupOutcome:
        try:
            await asyncio.sleep(1)
            self.started.append(attempt.number)
            await leave.wait()
        except asyncio.CancelledError:
            if not leave.is_set():
                self.stopped.append(attempt.number)
                raise
        raise LeftRunning


class FakeRecord(ProjectRecord):
    """Keeps what was marked and returns `held`; raises `outage` instead if it is set."""

    def __init__(self) -> None:
        super().__init__(Database(DatabaseAddress.parse("postgresql://nobody@nowhere/nothing")))
        self.marked: list[tuple[UUID, int, str]] = []
        self.outage: DatabaseUnavailable | None = None
        self.held = True

    async def mark(self, project_id: UUID, fence: int, status: ProjectStatus) -> bool:
        if self.outage is not None:
            raise self.outage
        self.marked.append((project_id, fence, status))
        return self.held


class World:
    """The runs of one operator, and the keys whose progress and end it reported."""

    def __init__(self, engine: FakeEngine | None = None) -> None:
        self.engine = engine or FakeEngine()
        self.record = FakeRecord()
        self.progressed: list[tuple[Key, float]] = []
        self.ended: list[Key] = []
        self.runs = Runs(
            self.engine,
            self.record,
            SoleOperator(),
            on_progress=lambda *due: self.progressed.append(due),
            on_end=self.ended.append,
        )

    def start(self, number: int = 1) -> UUID:
        attempt = _attempt(number)
        self.runs.start(attempt, FIRST)
        return attempt.project.id

    async def outcome(self, project_id: UUID) -> RunOutcome:
        while (view := self.runs.view(project_id)) is not None and view.outcome is None:
            await self.runs.changed()
        assert view is not None
        assert view.outcome is not None
        return view.outcome


def _attempt(number: int) -> AttemptSpec:
    attempt = make_attempt(make_recipe({"name": "one"}), number=number, fence=FENCE)
    project = replace(attempt.project, id=uuid4())
    return replace(attempt, name=str(project.id), project=project)


@in_virtual_time
async def test_an_attempt_that_ends_by_itself() -> None:
    world = World(FakeEngine(seconds=10))
    project = world.start()
    assert world.runs.running == [project]
    assert await world.outcome(project) == SetupSucceeded()
    assert world.runs.running == []
    assert world.record.marked == [(project, FENCE, "testing")]
    assert world.ended == [("team", str(project))]
    assert [key for key, _ in world.progressed] == world.ended
    world.runs.forget(project, "uid-1")
    assert world.runs.keys() == []


@in_virtual_time
async def test_progress_is_reported_when_status_may_be_written_again() -> None:
    engine = SteppingEngine(begins=(0, 0.3, 0.95, 1.2, 2.5, 2.6, 10))
    world = World(engine)
    await world.outcome(world.start())
    due = [begin + delay for begin, (_, delay) in zip(engine.begins, world.progressed, strict=True)]
    assert due == pytest.approx([1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 10.1])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InfrastructureError(Reason.STEP_KILLED, "out of memory", step="two", exit_code=137), Reason.STEP_KILLED),
        (ZeroDivisionError(), Reason.ENGINE_ERROR),
    ],
    ids=["it breaks", "it has a bug"],
)
@in_virtual_time
async def test_an_engine_that_raises_breaks_the_attempt(error: Exception, reason: Reason) -> None:
    world = World(FakeEngine(seconds=1, error=error))
    outcome = await world.outcome(world.start())
    assert isinstance(outcome, InfrastructureError)
    assert outcome.reason is reason


@in_virtual_time
async def test_a_stopped_attempt_has_the_first_cause_and_may_be_stopped_before_it_starts() -> None:
    world = World()
    project = world.start()
    await asyncio.sleep(1)
    world.runs.stop(project, StopCause.CANCEL)
    world.runs.stop(project, StopCause.SHUTDOWN)
    assert await world.outcome(project) == AttemptStopped(StopCause.CANCEL)
    project = world.start(2)
    world.runs.stop(project, StopCause.DELETED)
    assert await world.outcome(project) == AttemptStopped(StopCause.DELETED)
    assert world.engine.started == [1]


@pytest.mark.parametrize("kills", [False, True])
@in_virtual_time
async def test_all_attempts_are_stopped_or_killed_and_later_ones_do_not_run(kills: bool) -> None:
    world = World()
    before = world.start(1)
    await asyncio.sleep(1)
    if kills:
        await world.runs.kill_all(StopCause.SHUTDOWN)
        assert world.runs.running == []
    else:
        world.runs.stop_all(StopCause.SHUTDOWN)
    after = world.start(2)
    for project in (before, after):
        assert await world.outcome(project) == AttemptStopped(StopCause.SHUTDOWN)
    assert world.engine.started == [1]


@in_virtual_time
async def test_keys_include_an_attempt_that_is_being_prepared() -> None:
    world = World()
    with world.runs.preparing(("default", "a")):
        assert world.runs.keys() == [("default", "a")]
        waiting = asyncio.create_task(world.runs.changed())
        await asyncio.sleep(0)
    await waiting
    assert world.runs.keys() == []


@in_virtual_time
async def test_a_moved_fence_stops_the_attempt() -> None:
    world = World(FakeEngine(seconds=10))
    world.record.held = False
    assert await world.outcome(world.start()) == AttemptStopped(StopCause.FENCED)


@in_virtual_time
async def test_an_attempt_continues_during_a_database_outage_and_is_marked_afterwards() -> None:
    world = World(FakeEngine(seconds=100))
    world.record.outage = DatabaseUnavailable("no route")
    project = world.start()
    await asyncio.sleep(60)
    world.record.outage = None
    await asyncio.sleep(2 * MARK_RETRY)
    assert world.record.marked == [(project, FENCE, "testing")]
    assert await world.outcome(project) == SetupSucceeded()


async def _left(world: World, project: UUID) -> None:
    while (view := world.runs.view(project)) is not None and not view.left_running:
        await world.runs.changed()
    assert view is not None
    assert view.outcome is None


@pytest.mark.parametrize(("cause", "started"), [(StopCause.SHUTDOWN, [1, 2]), (StopCause.LEASE_LOST, [1])])
@in_virtual_time
async def test_lasting_attempts_are_left_running_and_at_a_shutdown_those_that_begin_are_started(
    cause: StopCause, started: list[int]
) -> None:
    world = World(engine := LastingEngine())
    attempts = [world.start(1)]
    await asyncio.sleep(2)
    attempts.append(world.start(2))
    if cause is StopCause.SHUTDOWN:
        world.runs.stop_all(cause)
    else:
        await world.runs.kill_all(cause)
    for attempt in attempts:
        await _left(world, attempt)
    assert (engine.started, engine.stopped) == (started, [])
    assert (world.runs.running, world.runs.keys()) == ([], [])


@pytest.mark.parametrize(("cause", "stopped"), [(StopCause.CANCEL, [1]), (StopCause.FENCED, [])])
@in_virtual_time
async def test_a_lasting_attempt_is_stopped_only_for_a_cause_that_concerns_the_setup(
    cause: StopCause, stopped: list[int]
) -> None:
    world = World(engine := LastingEngine())
    project = world.start(1)
    await asyncio.sleep(2)
    world.runs.stop(project, cause)
    assert await world.outcome(project) == AttemptStopped(cause)
    assert engine.stopped == stopped
