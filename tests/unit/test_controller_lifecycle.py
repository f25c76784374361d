"""The life of a ProjectSetup, as a table of facts and decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.api.models import (
    Commits,
    ProjectSetupResource,
    ProjectSetupStatus,
    RunRef,
    parse_resource,
    status_to_dict,
)
from projectsetup.api.reasons import Phase, Reason
from projectsetup.controller import decisions as d
from projectsetup.controller.claims import ClaimRefusal, claim_refusal, hiding
from projectsetup.controller.facts import (
    Facts,
    RecipePlan,
    RecordRead,
    RecordUnavailable,
    RunView,
)
from projectsetup.controller.lifecycle import decide, decide_deleted, needs_record
from projectsetup.controller.outcome import AttemptEnd, AttemptStopped, EndKind, RunOutcome, StopCause
from projectsetup.projects.model import Owner, Project, ProjectStatus
from projectsetup.setup.types import InfrastructureError, NotStarted, Progress, SetupFailed, SetupSucceeded

ID = "6f1e2d3c-0000-4000-8000-000000000001"
UID = "uid-1"
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
PREFIX = "setup.codemyspec.com/"
US = Owner(UID, "team", ID)
THEM = Owner("uid-2", "other", ID)
PLAN = RecipePlan("generate", "initializing", 7)
MISSING = "Secret login of spec.credentialsSecretRef does not exist"
DEPENDENCY_LIMIT = timedelta(minutes=10)
AT_COMPILE = Progress("compiling", "compile", 3, 7)


@dataclass
class World:
    """Facts in the making, and what happens to `.status` when a decision is carried out."""

    spec: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    generation: int = 1
    name: str = ID
    project: Project | None = None
    record: RecordRead | RecordUnavailable | None = None
    run: RunView | None = None
    slot: bool = False
    now: datetime = NOW
    input_problem: str | None = None
    missing: str | None = None
    last_progress_write: datetime | None = None
    prepared_fence: int | None = None
    owner_is_active: bool = False
    engine: str = "local"

    def annotate(self, **values: str) -> World:
        self.annotations |= {PREFIX + name.replace("_", "-"): value for name, value in values.items()}
        return self

    def resource(self) -> ProjectSetupResource:
        return parse_resource(
            {
                "metadata": {
                    "name": self.name,
                    "namespace": "team",
                    "uid": UID,
                    "generation": self.generation,
                    "resourceVersion": "7",
                    "creationTimestamp": "2026-05-01T11:59:00Z",
                    "annotations": self.annotations,
                },
                "spec": self.spec,
                "status": self.status,
            }
        )

    def facts(self) -> Facts:
        return Facts(
            resource=self.resource(),
            now=self.now,
            run=self.run,
            record=self.record or RecordRead(self.project),
            recipe=PLAN,
            token="token",
            input_problem=self.input_problem,
            missing_dependency=self.missing,
            slot=self.slot,
            last_progress_write=self.last_progress_write,
            prepared_fence=self.prepared_fence,
            owner_is_active=self.owner_is_active,
            engine=self.engine,
            engine_outlives_operator=self.engine == "job",
        )

    def decide(self) -> d.Decision:
        return decide(self.facts())

    def told(self, status: ProjectSetupStatus) -> World:
        self.status = status_to_dict(status)
        return self


def project(
    status: str = "created",
    owner: Owner | None = None,
    *,
    attempt: int = 0,
    fence: int = 0,
    result: dict[str, Any] | None = None,
) -> Project:
    return Project(
        id=UUID(ID),
        name="Shop",
        description="",
        code_repo="https://git.example/shop",
        docs_repo=None,
        status=ProjectStatus(status),
        setup_error=None,
        owner=owner,
        attempt=attempt,
        fence=fence,
        attempt_result=result,
        inserted_at=NOW,
        updated_at=NOW,
    )


def running(attempt: int = 1, **annotations: str) -> World:
    """A world in which attempt number `attempt` runs here."""
    world = World(project=project("created"), slot=True).annotate(**annotations)
    world.status = {"attempt": attempt - 1} if attempt > 1 else {}
    decision = world.decide()
    assert isinstance(decision, d.StartAttempt)
    world.told(decision.status)
    world.project = project("initializing", US, attempt=attempt, fence=5)
    world.run = RunView(UID, attempt, 5, Progress("initializing", "generate", 0, 7))
    return world


def after(world: World, outcome: RunOutcome) -> World:
    assert world.run is not None
    world.run = replace(world.run, outcome=outcome)
    return world


def ended(world: World, outcome: RunOutcome) -> d.RecordEnd:
    decision = after(world, outcome).decide()
    assert isinstance(decision, d.RecordEnd), decision
    return decision


def terminal(outcome: RunOutcome | None = None) -> World:
    world = running()
    decision = ended(world, outcome or SetupFailed("compile", 2, "step compile failed with exit code 2"))
    world.told(decision.status)
    world.run = None
    return world


def succeeded_reason(status: ProjectSetupStatus) -> tuple[str, str]:
    condition = next(c for c in status.conditions if c.type == "Succeeded")
    return condition.status, condition.reason


def reasons(decision: Any) -> list[str]:
    return [str(notice.reason) for notice in decision.events]


# --- before a start


def test_a_new_setup_with_a_free_slot_starts_at_once() -> None:
    decision = World(project=project(), slot=True).decide()
    assert isinstance(decision, d.StartAttempt)
    assert decision.number == 1
    status = decision.status
    assert (status.phase, status.attempt, status.max_attempts) == (Phase.RUNNING, 1, 3)
    assert (status.step, status.progress, status.project_status) == ("generate", "0/7", "initializing")
    assert (status.started_at, status.observed_generation) == (NOW, 1)
    assert status.run_ref is not None
    assert reasons(decision) == ["Started"]


def test_a_new_setup_without_a_slot_stands_in_line_since_its_creation() -> None:
    decision = World(project=project()).decide()
    assert isinstance(decision, d.WaitForSlot)
    assert (decision.status.phase, decision.status.project_status) == (Phase.QUEUED, "setup_queued")
    assert decision.status.queued_at == NOW - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, Reason.PROJECT_NOT_FOUND),
        (project("testing"), Reason.PROJECT_INVALID_STATE),
    ],
)
def test_the_job_itself_is_wrong(record: Project | None, reason: Reason) -> None:
    decision = World(project=record, slot=True).decide()
    assert isinstance(decision, d.WriteStatus)
    assert succeeded_reason(decision.status) == ("False", reason)
    assert decision.status.phase is Phase.FAILED
    assert reasons(decision) == ["Failed"]
    assert decision.status.failure is not None
    assert not decision.status.failure.retryable


def done_with(recipe: str | None, **parameters: str) -> dict[str, Any]:
    """The end of a setup that succeeded, as the record keeps it; None: written by an older version."""
    end = AttemptEnd(
        kind=EndKind.SUCCEEDED,
        attempt=1,
        reason=Reason.SETUP_SUCCEEDED,
        message="done",
        finished_at=NOW,
        commits=Commits(code_repo="c0de"),
        recipe=recipe,
        parameters=None if recipe is None else parameters,
    )
    return end.to_result()


ASKED = {"recipe": "service", "parameters": {"license": "MIT"}}


@pytest.mark.parametrize("owner", [None, Owner("uid-0", "team", ID)])
@pytest.mark.parametrize("result", [None, done_with(None), done_with("service", license="MIT")])
def test_a_ready_project_of_which_nothing_else_is_asked_is_a_success_and_nothing_runs(
    result: dict[str, Any] | None, owner: Owner | None
) -> None:
    ready = replace(project("ready", owner, result=result), namespace="team")
    world = World(project=ready, spec=ASKED, slot=True, input_problem="its recipe is gone", missing=MISSING)
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    status = decision.status
    assert succeeded_reason(status) == ("True", Reason.ALREADY_SET_UP)
    assert (status.phase, status.attempt, status.project_status) == (Phase.SUCCEEDED, 0, "ready")
    assert (status.commits.code_repo if status.commits else None) == ("c0de" if result else None)
    assert reasons(decision) == ["Succeeded"]
    assert world.told(status).decide() == d.Requeue()


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (done_with("other", license="MIT"), "with recipe other, but this ProjectSetup requests recipe service"),
        (done_with("service", license="GPL"), "with license='GPL', but this ProjectSetup requests license='MIT'"),
        (done_with("service", license="MIT", x="1"), "with x='1', but this ProjectSetup requests no x"),
        (done_with("service"), "with no license, but this ProjectSetup requests license='MIT'"),
    ],
)
def test_a_ready_project_of_which_something_else_is_asked_is_a_failure_that_says_both(
    result: dict[str, Any], told: str
) -> None:
    decision = World(project=replace(project("ready", result=result), namespace="team"), spec=ASKED).decide()
    assert isinstance(decision, d.WriteStatus)
    assert succeeded_reason(decision.status) == ("False", Reason.PROJECT_INVALID_STATE)
    assert decision.status.conditions[0].message == f"the project is already set up {told}"


def test_a_ready_project_that_belongs_nowhere_tells_no_commits() -> None:
    decision = World(project=project("ready", result=done_with("service", license="MIT")), spec=ASKED).decide()
    assert isinstance(decision, d.WriteStatus)
    assert (succeeded_reason(decision.status)[1], decision.status.commits) == (Reason.ALREADY_SET_UP, None)


def test_a_success_keeps_what_it_was_done_with() -> None:
    world = running()
    world.spec = ASKED
    end = ended(world, SetupSucceeded("c0de", None)).end
    assert (end.recipe, end.parameters) == ("service", {"license": "MIT"})


@pytest.mark.parametrize("status", ["created", "setup_queued", "failed"])
def test_may_be_set_up_from(status: str) -> None:
    assert isinstance(World(project=project(status), slot=True).decide(), d.StartAttempt)


def test_another_owner_is_looked_up_before_it_stands_in_the_way() -> None:
    world = World(project=project("compiling", THEM), slot=True)
    assert world.decide() == d.ReleaseOwner(THEM)
    world.owner_is_active = True
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert succeeded_reason(decision.status) == ("False", Reason.PROJECT_CLAIMED)
    assert f"other/{ID}" in decision.status.conditions[0].message


ELSEWHERE = RecordRead(None, ClaimRefusal(Reason.PROJECT_CLAIMED, "project belongs to another namespace"))


@pytest.mark.parametrize("engine", ["local", "job"])
@pytest.mark.parametrize(
    ("spec", "annotations", "reason"),
    [
        ({}, {}, Reason.PROJECT_CLAIMED),
        ({"timeout": "soon"}, {}, Reason.PROJECT_CLAIMED),
        ({}, {"priority": "10"}, Reason.PROJECT_CLAIMED),
        ({}, {"retry_requested_at": "1"}, Reason.PROJECT_CLAIMED),
        ({}, {"cancel_requested_at": "1"}, Reason.CANCELLED),
        ({"suspend": True}, {"cancel_requested_at": "1"}, Reason.CANCELLED),
    ],
)
@pytest.mark.parametrize(
    "status",
    [
        {},
        {"attempt": 3, "maxAttempts": 3},
        {"attempt": 1, "nextAttemptAt": "2026-05-01T13:00:00Z"},
        {"attempt": 1, "runRef": {"engine": "job", "name": "setup-x-1-1", "id": "x"}},
    ],
)
def test_a_project_of_another_namespace_ends_the_setup_in_its_status_alone(
    spec: dict[str, Any], annotations: dict[str, str], reason: Reason, status: dict[str, Any], engine: str
) -> None:
    world = World(record=ELSEWHERE, spec=spec, status=status, slot=True, engine=engine).annotate(**annotations)
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    if "runRef" not in status:
        assert succeeded_reason(decision.status) == ("False", reason)
    assert world.told(decision.status).resource().is_over
    assert (decision.status.project_status, decision.status.step, decision.status.run_ref) == (None, None, None)


@pytest.mark.parametrize("owner", [None, US, THEM])
@pytest.mark.parametrize("status", list(ProjectStatus))
def test_nothing_of_a_project_of_another_namespace_is_claimed_released_or_told(
    status: ProjectStatus, owner: Owner | None
) -> None:
    foreign = replace(project(status, owner, result={"end": 1}), namespace="other")
    resource = World().resource()
    hidden = hiding(resource, foreign, namespace_required=False)
    assert hidden is not None
    assert (hidden.reason, hidden.owner) == (Reason.PROJECT_CLAIMED, None)
    assert claim_refusal(resource, foreign) == hidden
    assert hiding(resource, replace(foreign, namespace="team"), namespace_required=True) is None


@pytest.mark.parametrize(("found", "required", "is_hidden"), [(None, False, True), (project(), False, False)])
def test_a_project_without_a_namespace_is_hidden_where_one_is_required(
    found: Project | None, required: bool, is_hidden: bool
) -> None:
    resource = World().resource()
    assert (hiding(resource, found, namespace_required=required) is not None) is is_hidden
    hidden = hiding(resource, found, namespace_required=True)
    assert hidden == hiding(resource, None, namespace_required=True)
    assert hidden is not None
    assert hidden.reason is Reason.PROJECT_NOT_FOUND


@pytest.mark.parametrize(
    "world",
    [
        World(project=project()).annotate(priority="10"),
        World(project=project()).annotate(max_attempts="0"),
        World(project=project()).annotate(backoff="-1s"),
        World(project=project(), input_problem="there is no recipe 'x'"),
        World(project=project(), spec={"timeout": "soon"}),
    ],
)
def test_a_bad_spec_is_terminal_and_told_in_the_record(world: World) -> None:
    decision = world.decide()
    assert isinstance(decision, d.RecordEnd)
    assert succeeded_reason(decision.status) == ("False", Reason.INVALID_SPEC)
    assert decision.end.project_status is ProjectStatus.FAILED
    assert decision.end.setup_error is not None
    assert decision.end.setup_error["reason"] == "InvalidSpec"
    assert set(decision.end.setup_error) == {"reason", "step", "message"}


def test_suspended_starts_nothing_and_says_so_once() -> None:
    world = World(project=project(), spec={"suspend": True}, slot=True)
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert decision.status.phase is Phase.SUSPENDED
    assert world.told(decision.status).decide() == d.Requeue()


def test_waits_for_the_database_without_burning_an_attempt() -> None:
    world = World(record=RecordUnavailable("PostgreSQL refuses"), slot=True)
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert succeeded_reason(decision.status) == ("Unknown", Reason.DATABASE_UNAVAILABLE)
    assert decision.status.attempt == 0
    assert isinstance(world.told(decision.status).decide(), d.Requeue)
    world.record, world.project = None, project()
    assert isinstance(world.decide(), d.StartAttempt)


def awaiting(**facts: Any) -> World:
    """A world that has waited for a Secret since NOW."""
    world = World(project=project(), missing=MISSING, slot=True, **facts)
    decision = world.decide()
    assert isinstance(decision, d.AwaitDependency)
    return world.told(decision.status)


def test_a_missing_dependency_is_waited_for_without_burning_an_attempt() -> None:
    decision = World(project=project(), missing=MISSING, slot=True).decide()
    assert isinstance(decision, d.AwaitDependency)
    assert succeeded_reason(decision.status) == ("Unknown", Reason.DEPENDENCY_MISSING)
    assert decision.until == NOW + DEPENDENCY_LIMIT
    assert (decision.status.phase, decision.status.attempt) == (Phase.QUEUED, 0)
    assert decision.status.dependency_missing_since == NOW
    assert decision.status.conditions[0].message == f"{MISSING}; waiting for it until 2026-05-01T12:10:00Z"
    assert {c.type: c.status for c in decision.status.conditions}["Reconciling"] == "True"
    assert reasons(decision) == ["DependencyMissing"]


def test_the_wait_is_counted_from_status_and_told_once() -> None:
    world = awaiting()
    world.now = NOW + DEPENDENCY_LIMIT - timedelta(seconds=1)
    decision = world.decide()
    assert isinstance(decision, d.AwaitDependency)
    assert decision.status == world.resource().status
    assert decision.until == NOW + DEPENDENCY_LIMIT
    assert reasons(decision) == []


def test_what_does_not_come_in_time_is_an_invalid_spec() -> None:
    world = awaiting()
    world.now = NOW + DEPENDENCY_LIMIT
    decision = world.decide()
    assert isinstance(decision, d.RecordEnd)
    assert succeeded_reason(decision.status) == ("False", Reason.INVALID_SPEC)
    assert decision.status.conditions[0].message == f"{MISSING}; gave up waiting after 10m"
    assert decision.status.dependency_missing_since is None
    assert decision.status.attempt == 0
    assert reasons(decision) == ["Failed"]


@pytest.mark.parametrize("slot", [True, False])
def test_once_it_is_there_the_setup_goes_on_and_a_later_wait_begins_anew(slot: bool) -> None:
    world = awaiting()
    world.missing, world.slot, world.now = None, slot, NOW + timedelta(minutes=9)
    decision = world.decide()
    assert isinstance(decision, d.StartAttempt if slot else d.WaitForSlot)
    assert decision.status.dependency_missing_since is None
    world.told(replace(world, missing=None, slot=False).decide().status)  # type: ignore[union-attr]
    world.missing, world.now = MISSING, NOW + timedelta(minutes=20)
    again = world.decide()
    assert isinstance(again, d.AwaitDependency)
    assert again.until == world.now + DEPENDENCY_LIMIT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda world: world.annotate(cancel_requested_at="1"), Reason.CANCELLED),
        (lambda world: world.annotate(priority="10"), Reason.INVALID_SPEC),
        (lambda world: replace(world, input_problem="parameter x is not declared"), Reason.INVALID_SPEC),
        (lambda world: replace(world, project=None), Reason.PROJECT_NOT_FOUND),
        (lambda world: replace(world, spec={"suspend": True}), Reason.SUSPENDED),
        (lambda world: replace(world, record=RecordUnavailable("away")), Reason.DATABASE_UNAVAILABLE),
    ],
)
def test_what_outranks_a_missing_dependency(change: Callable[[World], World], reason: Reason) -> None:
    decision = change(awaiting()).decide()
    assert succeeded_reason(decision.status)[1] == reason  # type: ignore[union-attr]


def test_a_retry_while_a_dependency_is_missing_is_coalesced() -> None:
    decision = awaiting().annotate(retry_requested_at="1").decide()
    assert isinstance(decision, d.AwaitDependency)
    assert reasons(decision) == ["RetryCoalesced"]
    assert decision.status.last_handled_retry == "1"


def test_a_delay_is_waited_for_before_what_is_missing() -> None:
    world = terminal_retry()
    world.missing = MISSING
    assert isinstance(world.decide(), d.Requeue)
    world.now = NOW + timedelta(hours=1)
    decision = world.decide()
    assert isinstance(decision, d.AwaitDependency)
    assert decision.status.attempt == 1


def test_cancel_before_a_start_is_told_in_the_record() -> None:
    decision = World(project=project(), slot=True).annotate(cancel_requested_at="1").decide()
    assert isinstance(decision, d.RecordEnd)
    assert decision.status.phase is Phase.CANCELLED
    assert decision.status.last_handled_cancel == "1"
    assert decision.end.project_status is ProjectStatus.FAILED
    assert reasons(decision) == ["Cancelled"]


def test_a_lowered_limit_exhausts_what_has_not_started() -> None:
    world = terminal_retry()
    world.annotate(max_attempts="1")
    world.now = NOW + timedelta(hours=1)
    decision = world.decide()
    assert isinstance(decision, d.RecordEnd)
    assert succeeded_reason(decision.status) == ("False", Reason.ATTEMPTS_EXHAUSTED)


def test_a_name_that_is_no_project_id_is_terminal() -> None:
    decision = World(name="shop").decide()
    assert isinstance(decision, d.WriteStatus)
    assert succeeded_reason(decision.status) == ("False", Reason.INVALID_SPEC)


# --- while it runs


def test_progress_is_written_at_most_once_a_second() -> None:
    world = running()
    assert world.run is not None
    assert world.decide() == d.Requeue()
    world.run = replace(world.run, progress=AT_COMPILE)
    world.last_progress_write = NOW
    world.now = NOW + timedelta(milliseconds=400)
    assert world.decide() == d.Requeue(until=NOW + timedelta(seconds=1))
    world.now = NOW + timedelta(seconds=1)
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert (decision.status.step, decision.status.progress) == ("compile", "3/7")
    assert decision.status.project_status == "compiling"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda world: world.annotate(cancel_requested_at="1"), StopCause.CANCEL),
        (lambda world: replace(world, spec={"suspend": True}), StopCause.SUSPEND),
        (lambda world: replace(world, spec={"suspend": True}).annotate(cancel_requested_at="1"), StopCause.CANCEL),
    ],
)
def test_what_stops_a_running_attempt(change: Callable[[World], World], cause: StopCause) -> None:
    world = change(running())
    assert world.decide() == d.StopRun(cause)
    assert world.run is not None
    world.run = replace(world.run, stopping=cause)
    assert not isinstance(world.decide(), d.StopRun)


def test_a_cancel_is_not_told_as_handled_before_the_end() -> None:
    world = running().annotate(cancel_requested_at="1")
    assert world.run is not None
    world.run = replace(world.run, stopping=StopCause.CANCEL, progress=AT_COMPILE)
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert decision.status.last_handled_cancel is None


def test_a_retry_while_running_is_coalesced() -> None:
    world = running().annotate(retry_requested_at="1")
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert (decision.status.phase, decision.status.last_handled_retry) == (Phase.RUNNING, "1")
    assert reasons(decision) == ["RetryCoalesced"]
    assert world.told(decision.status).decide() == d.Requeue()


# --- the end of an attempt


def terminal_retry() -> World:
    world = running()
    world.told(ended(world, InfrastructureError(Reason.STEP_TRANSIENT, "reset", step="push", exit_code=75)).status)
    world.run, world.slot = None, False
    world.project = project("setup_queued", US, attempt=1, fence=6)
    return world


def test_success() -> None:
    decision = ended(running(), SetupSucceeded(code_commit="c" * 40, docs_commit=None))
    status = decision.status
    assert (decision.fence, decision.end.project_status, decision.end.setup_error) == (5, ProjectStatus.READY, None)
    assert succeeded_reason(status) == ("True", Reason.SETUP_SUCCEEDED)
    assert (status.phase, status.project_status, status.progress) == (Phase.SUCCEEDED, "ready", "7/7")
    assert status.commits is not None
    assert status.commits.code_repo == "c" * 40
    assert status.failure is None
    assert status.run_ref is None
    assert status.finished_at == NOW
    assert [record.outcome for record in status.attempts] == ["Succeeded"]
    assert reasons(decision) == ["Succeeded"]


def test_a_step_that_says_no_is_terminal_at_the_first_attempt() -> None:
    decision = ended(running(), SetupFailed("compile", 2, "step compile failed with exit code 2: no"))
    status = decision.status
    assert succeeded_reason(status) == ("False", Reason.STEP_FAILED)
    assert status.failure is not None
    assert (status.failure.step, status.failure.exit_code, status.failure.retryable) == ("compile", 2, False)
    assert decision.end.setup_error == {
        "reason": "StepFailed",
        "step": "compile",
        "message": "step compile failed with exit code 2: no",
    }
    assert status.next_attempt_at is None


@pytest.mark.parametrize(
    "reason",
    [Reason.STEP_TRANSIENT, Reason.STEP_TIMED_OUT, Reason.STEP_KILLED, Reason.INTERRUPTED, Reason.ENGINE_ERROR],
)
def test_an_infrastructure_failure_is_retried_after_its_delay(reason: Reason) -> None:
    decision = ended(running(), InfrastructureError(reason, "gone", step="push"))
    status = decision.status
    assert decision.end.project_status is ProjectStatus.SETUP_QUEUED
    assert succeeded_reason(status) == ("Unknown", Reason.RETRY_SCHEDULED)
    assert (status.phase, status.attempt) == (Phase.BACKING_OFF, 1)
    assert status.next_attempt_at == NOW + timedelta(seconds=15)
    assert status.failure is not None
    assert (status.failure.reason, status.failure.retryable) == (reason, True)
    assert [record.reason for record in status.attempts] == [reason]
    assert reasons(decision) == ["RetryScheduled"]


def test_backing_off_holds_no_slot_and_ends_when_due() -> None:
    world = terminal_retry()
    assert world.decide() == d.Requeue(until=NOW + timedelta(seconds=15))
    world.now = NOW + timedelta(seconds=15)
    assert isinstance(world.decide(), d.WaitForSlot)
    world.slot = True
    decision = world.decide()
    assert isinstance(decision, d.StartAttempt)
    assert (decision.number, decision.status.next_attempt_at) == (2, None)


@pytest.mark.parametrize("interruption", ["suspended", "database away"])
def test_backing_off_is_told_again_after_an_interruption(interruption: str) -> None:
    world = terminal_retry()
    before = world.resource().status
    if interruption == "suspended":
        world.spec = {"suspend": True}
    else:
        world.record = RecordUnavailable("away")
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert decision.status.phase is not Phase.BACKING_OFF
    world.told(decision.status)
    world.spec, world.record = {}, None
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    told = [(status.phase, status.attempt, _conditions(status)) for status in (decision.status, before)]
    assert told[0] == told[1]
    assert decision.until == before.next_attempt_at
    assert world.told(decision.status).decide() == d.Requeue(until=before.next_attempt_at)


def test_a_retry_while_backing_off_ends_the_delay_and_not_the_series() -> None:
    world = terminal_retry().annotate(retry_requested_at="1")
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert (decision.status.next_attempt_at, decision.status.attempt) == (NOW, 1)
    assert reasons(decision) == ["RetryCoalesced"]


@pytest.mark.parametrize("obstacle", ["database", "suspend"])
def test_a_retry_while_backing_off_is_not_lost_to_an_obstacle(obstacle: str) -> None:
    world = terminal_retry().annotate(retry_requested_at="1")
    if obstacle == "database":
        world.record = RecordUnavailable("away")
    else:
        world.spec = {"suspend": True}
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert (decision.status.last_handled_retry, decision.status.next_attempt_at) == ("1", NOW)


def test_the_last_attempt_exhausts_the_limit() -> None:
    decision = ended(running(3), InfrastructureError(Reason.STEP_KILLED, "killed by SIGKILL", step="test"))
    assert succeeded_reason(decision.status) == ("False", Reason.ATTEMPTS_EXHAUSTED)
    assert decision.status.failure is not None
    assert decision.status.failure.reason == Reason.STEP_KILLED
    assert decision.end.setup_error is not None
    assert decision.end.setup_error["reason"] == "AttemptsExhausted"


@pytest.mark.parametrize(
    "outcome", [AttemptStopped(StopCause.CANCEL), InfrastructureError(Reason.STEP_KILLED, "killed", step="compile")]
)
def test_a_cancelled_attempt_is_never_retried(outcome: RunOutcome) -> None:
    decision = ended(running().annotate(cancel_requested_at="1"), outcome)
    assert decision.status.phase is Phase.CANCELLED
    assert decision.status.last_handled_cancel == "1"
    assert decision.end.setup_error is not None
    assert decision.end.setup_error["reason"] == "Cancelled"


@pytest.mark.parametrize("outcome", [SetupSucceeded(None, None), SetupFailed("test", 1, "no")])
def test_an_end_that_came_before_the_cancel_stands(outcome: RunOutcome) -> None:
    decision = ended(running().annotate(cancel_requested_at="1"), outcome)
    assert decision.status.phase in {Phase.SUCCEEDED, Phase.FAILED}
    assert decision.status.last_handled_cancel == "1"
    assert "CancelIgnored" in reasons(decision)


@pytest.mark.parametrize(
    ("spec", "cause", "phase"),
    [
        ({"suspend": True}, StopCause.SUSPEND, Phase.SUSPENDED),
        ({}, StopCause.SHUTDOWN, Phase.QUEUED),
        ({}, StopCause.LEASE_LOST, Phase.QUEUED),
    ],
)
def test_a_stopped_attempt_is_given_back(spec: dict[str, Any], cause: StopCause, phase: Phase) -> None:
    world = replace(running(2), spec=spec)
    decision = ended(world, AttemptStopped(cause))
    assert (decision.status.phase, decision.status.attempt) == (phase, 1)
    assert decision.end.project_status is ProjectStatus.SETUP_QUEUED
    assert decision.status.attempts == ()


def test_the_end_waits_for_the_database() -> None:
    world = after(running(), SetupSucceeded(None, None))
    world.record = RecordUnavailable("away")
    assert isinstance(world.decide(), d.Requeue)


def test_the_end_tells_where_it_was_even_if_that_was_not_told_before() -> None:
    world = running()
    assert world.run is not None
    world.run = replace(world.run, progress=AT_COMPILE)
    status = ended(world, SetupFailed("compile", 2, "no")).status
    assert (status.step, status.progress, status.project_status) == ("compile", "3/7", "failed")


# --- after a crash


def test_an_attempt_found_running_is_interrupted() -> None:
    world = running()
    world.run = None
    decision = world.decide()
    assert isinstance(decision, d.RecordEnd)
    assert decision.fence == 5
    assert decision.status.failure is not None
    assert decision.status.failure.reason == Reason.INTERRUPTED
    assert decision.status.phase is Phase.BACKING_OFF


outcomes = st.one_of(
    st.builds(SetupSucceeded, st.sampled_from([None, "a" * 40]), st.sampled_from([None, "b" * 40])),
    st.builds(SetupFailed, st.just("compile"), st.integers(1, 74), st.text(max_size=20)),
    st.builds(InfrastructureError, st.sampled_from([Reason.STEP_KILLED, Reason.ENGINE_ERROR]), st.text(max_size=20)),
    st.builds(AttemptStopped, st.sampled_from([StopCause.SHUTDOWN, StopCause.LEASE_LOST])),
)


@given(outcome=outcomes, attempt=st.integers(1, 3), seconds=st.integers(0, 10_000))
def test_status_completed_from_the_record_is_what_would_have_been_written(
    outcome: RunOutcome, attempt: int, seconds: int
) -> None:
    world = running(attempt)
    assert world.run is not None
    world.run = replace(world.run, progress=AT_COMPILE)
    decision = ended(world, outcome)
    world.run = None
    result = decision.end.to_result()
    world.project = project(str(decision.end.project_status), US, attempt=attempt, fence=6, result=result)
    world.now = NOW + timedelta(seconds=seconds)
    completed = world.decide()
    assert isinstance(completed, d.WriteStatus)
    assert _without_transitions(completed.status) == _without_transitions(decision.status)
    assert completed.events == decision.events
    goes_on = decision.end.kind in {EndKind.RETRY, EndKind.RELEASED}
    assert completed.until == (world.now if goes_on else None)


def _without_transitions(status: ProjectSetupStatus) -> dict[str, Any]:
    return {**status_to_dict(status), "conditions": _conditions(status)}


def _conditions(status: ProjectSetupStatus) -> list[tuple[str, str, str, str]]:
    return [(c.type, c.status, c.reason, c.message) for c in status.conditions]


def test_a_claim_without_a_status_starts_the_same_attempt() -> None:
    world = World(project=project("initializing", US, attempt=1, fence=5), slot=True)
    decision = world.decide()
    assert isinstance(decision, d.StartAttempt)
    assert decision.number == 1


def left_running(engine: str = "job") -> World:
    """A world in which another operator has started attempt 2, on the engine `job`, and is no more."""
    world = World(project=project("setup_queued", US, attempt=1, fence=8), slot=True, engine="job")
    world.status = {"attempt": 1}
    decision = world.decide()
    assert isinstance(decision, d.StartAttempt)
    world.told(decision.status)
    world.project = project("compiling", US, attempt=2, fence=9)
    world.slot, world.engine = False, engine
    return world


def test_the_name_of_what_runs_an_attempt_is_told_before_it_exists() -> None:
    assert left_running().status["runRef"] == {"engine": "job", "name": f"setup-{ID}-2-9-token", "id": f"{UID}-9"}


def test_an_attempt_that_could_not_start_does_not_count_and_is_tried_again_later() -> None:
    decision = ended(running(), NotStarted("exceeded quota: few"))
    assert (decision.end.kind, decision.end.attempts_used) == (EndKind.RELEASED, 0)
    status = decision.status
    assert (status.phase, status.attempt, status.attempts, status.run_ref) == (Phase.QUEUED, 0, (), None)
    assert status.next_attempt_at == NOW + timedelta(seconds=30)
    (told,) = [message for kind, _, _, message in _conditions(status) if kind == "Succeeded"]
    assert "attempt 1 could not start and does not count" in told
    assert told.endswith("exceeded quota: few")
    world = World(project=project("setup_queued", US, attempt=0), slot=True).told(status)
    assert world.decide() == d.Requeue(until=status.next_attempt_at)
    world.now = NOW + timedelta(seconds=30)
    assert isinstance(world.decide(), d.StartAttempt)


def test_what_the_engine_recognizes_its_run_by_is_its_id() -> None:
    facts = World(project=project(), slot=True, engine="job").facts()
    decision = decide(replace(facts, recipe=replace(facts.recipe, digest="sha256:of-the-plan")))
    assert isinstance(decision, d.StartAttempt)
    assert decision.status.run_ref is not None
    assert decision.status.run_ref.id == "sha256:of-the-plan"


def test_what_outlives_its_operator_is_adopted_where_it_was() -> None:
    world = left_running()
    world.status |= {"step": "compile", "progress": "3/7"}
    run = RunRef(engine="job", name=f"setup-{ID}-2-9-token", id=f"{UID}-9")
    assert world.decide() == d.AdoptAttempt(2, run, AT_COMPILE)


def test_a_status_that_another_version_wrote_is_adopted_all_the_same() -> None:
    world = left_running()
    world.status |= {"step": None, "progress": "some"}
    decision = world.decide()
    assert isinstance(decision, d.AdoptAttempt)
    assert decision.progress == Progress("compiling", "", 0, 0)


@pytest.mark.parametrize("asked", [{"cancel_requested_at": "1"}, {"retry_requested_at": "1"}])
def test_what_is_asked_for_meanwhile_is_heard_after_the_adoption(asked: dict[str, str]) -> None:
    assert isinstance(left_running().annotate(**asked).decide(), d.AdoptAttempt)


def test_nothing_is_adopted_while_the_database_is_away() -> None:
    world = left_running()
    world.record = RecordUnavailable("no route")
    assert isinstance(world.decide(), d.Requeue)


def test_an_end_that_is_in_the_record_is_told_and_not_adopted() -> None:
    world = left_running()
    failed = ended(running(), SetupFailed("compile", 2, "no"))
    result = failed.end.model_copy(update={"attempt": 2}).to_result()
    world.project = project("failed", US, attempt=2, fence=10, result=result)
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert succeeded_reason(decision.status) == ("False", Reason.STEP_FAILED)


@pytest.mark.parametrize(
    "found", [None, project("ready", US, attempt=2), project("created", None), project("testing", THEM)]
)
def test_nothing_is_adopted_for_a_project_that_is_no_longer_ours(found: Project | None) -> None:
    world = left_running()
    world.project = found
    assert not isinstance(world.decide(), d.AdoptAttempt)


@pytest.mark.parametrize("engine", ["local", "other"])
def test_what_another_engine_has_started_is_interrupted(engine: str) -> None:
    decision = left_running(engine).decide()
    assert isinstance(decision, d.RecordEnd)
    assert decision.end.failure is not None
    assert decision.end.failure.reason == Reason.INTERRUPTED


def test_an_attempt_that_was_left_running_is_neither_stopped_nor_ended_here() -> None:
    world = running().annotate(cancel_requested_at="1")
    assert world.run is not None
    world.run = replace(world.run, stopping=StopCause.SHUTDOWN, left_running=True)
    assert world.decide() == d.Requeue()
    assert decide_deleted(world.run) == d.Requeue()


@pytest.mark.parametrize(("prepared", "begins"), [(5, True), (4, False), (None, False)])
def test_a_start_whose_answer_was_lost_is_no_lost_attempt(prepared: int | None, begins: bool) -> None:
    world = running()
    world.run, world.prepared_fence = None, prepared
    decision = world.decide()
    assert isinstance(decision, d.StartPrepared) is begins
    assert isinstance(decision, d.RecordEnd) is not begins


def test_a_moved_fence_ends_this_operator() -> None:
    world = after(running(), InfrastructureError(Reason.ENGINE_ERROR, "x"))
    world.project = project("compiling", US, attempt=2, fence=9)
    assert isinstance(world.decide(), d.StepDown)


def test_an_attempt_whose_project_was_deleted_ends_as_not_found() -> None:
    world = after(running(), AttemptStopped(StopCause.FENCED))
    world.project = None
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert succeeded_reason(decision.status) == ("False", Reason.PROJECT_NOT_FOUND)
    assert decision.status.run_ref is None


# --- after the end


def test_nothing_is_written_over_a_finished_setup() -> None:
    world = terminal()
    assert world.decide() == d.Requeue()
    assert not needs_record(world.resource(), None)


def test_the_observed_generation_follows_a_finished_setup() -> None:
    world = terminal()
    world.generation = 2
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert decision.status.observed_generation == 2
    assert {c.observed_generation for c in decision.status.conditions} == {2}
    assert world.told(decision.status).decide() == d.Requeue()


def test_a_retry_begins_a_new_series_and_keeps_the_attempts() -> None:
    world = terminal().annotate(retry_requested_at="1")
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    status = decision.status
    assert (status.phase, status.attempt, status.queued_at, status.last_handled_retry) == (Phase.QUEUED, 0, NOW, "1")
    assert len(status.attempts) == 1
    assert reasons(decision) == ["RetryRequested"]
    world.told(status)
    world.project, world.slot = project("failed", US, attempt=1, fence=6), True
    again = world.decide()
    assert isinstance(again, d.StartAttempt)
    assert again.number == 1


def test_a_retry_after_success_is_ignored_once() -> None:
    world = terminal(SetupSucceeded(None, None)).annotate(retry_requested_at="1")
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert reasons(decision) == ["RetryIgnored"]
    assert world.told(decision.status).decide() == d.Requeue()


def test_cancel_and_retry_together_cancel_wins() -> None:
    world = terminal().annotate(retry_requested_at="1", cancel_requested_at="1")
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert decision.status.phase is Phase.FAILED
    assert (decision.status.last_handled_retry, decision.status.last_handled_cancel) == ("1", "1")
    assert reasons(decision) == ["CancelIgnored", "RetryIgnored"]
    assert world.told(decision.status).decide() == d.Requeue()


def test_cancel_and_retry_together_before_a_start_cancel_wins() -> None:
    decision = World(project=project()).annotate(retry_requested_at="1", cancel_requested_at="1").decide()
    assert isinstance(decision, d.RecordEnd)
    assert decision.status.phase is Phase.CANCELLED
    assert (decision.status.last_handled_retry, decision.status.last_handled_cancel) == ("1", "1")


def test_a_retry_that_comes_with_a_cancel_waits_for_its_end_and_is_ignored_then() -> None:
    world = running().annotate(retry_requested_at="r", cancel_requested_at="c")
    assert world.run is not None
    world.run = replace(world.run, stopping=StopCause.CANCEL, progress=AT_COMPILE)
    told = world.decide()
    assert isinstance(told, d.WriteStatus)
    assert (told.status.last_handled_retry, reasons(told)) == (None, [])
    decision = ended(world.told(told.status), AttemptStopped(StopCause.CANCEL))
    assert reasons(decision) == ["Cancelled", "RetryIgnored"]
    assert (decision.status.last_handled_retry, decision.status.last_handled_cancel) == ("r", "c")


@pytest.mark.parametrize("outcome", [SetupSucceeded(None, None), SetupFailed("test", 1, "no")])
def test_a_retry_that_comes_with_the_end_is_told_as_coalesced(outcome: RunOutcome) -> None:
    decision = ended(running().annotate(retry_requested_at="r"), outcome)
    assert reasons(decision)[1:] == ["RetryCoalesced"]
    assert decision.status.last_handled_retry == "r"


def test_bad_annotations_after_the_end_repeat_nothing() -> None:
    world = terminal(SetupSucceeded(None, None)).annotate(retry_requested_at="1", priority="x")
    decision = world.decide()
    assert isinstance(decision, d.WriteStatus)
    assert world.told(decision.status).decide() == d.Requeue()


# --- all of it


@pytest.mark.parametrize(
    ("run", "decision"),
    [
        (None, d.ReleaseClaim()),
        (RunView(UID, 1, 5, AT_COMPILE), d.StopRun(StopCause.DELETED)),
        (RunView(UID, 1, 5, AT_COMPILE, stopping=StopCause.DELETED), d.Requeue()),
        (RunView(UID, 1, 5, AT_COMPILE, outcome=AttemptStopped(StopCause.DELETED)), d.ReleaseClaim()),
        (RunView(UID, 1, 5, AT_COMPILE, outcome=SetupSucceeded(None, None)), d.ReleaseClaim(ready_fence=5)),
    ],
)
def test_what_a_deleted_setup_leaves(run: RunView | None, decision: d.Decision) -> None:
    assert decide_deleted(run) == decision


@given(
    status=st.sampled_from([s.value for s in ProjectStatus]),
    owner=st.sampled_from([None, US, THEM]),
    slot=st.booleans(),
    suspend=st.booleans(),
    attempt=st.integers(0, 4),
    cancel=st.booleans(),
    retry=st.booleans(),
    away=st.booleans(),
    start=st.sampled_from(["new", "running", "backing off", "terminal"]),
    outcome=st.one_of(st.none(), outcomes),
)
def test_every_decision_tells_the_generation_and_settles(
    *,
    status: str,
    owner: Owner | None,
    slot: bool,
    suspend: bool,
    attempt: int,
    cancel: bool,
    retry: bool,
    away: bool,
    start: str,
    outcome: RunOutcome | None,
) -> None:
    worlds: dict[str, Callable[[], World]] = {
        "new": World,
        "running": running,
        "backing off": terminal_retry,
        "terminal": terminal,
    }
    world = worlds[start]()
    if start == "running" and outcome is not None:
        after(world, outcome)
    world.project = project(status, owner, attempt=attempt, fence=5)
    world.record = RecordUnavailable("away") if away else None
    world.slot, world.spec, world.owner_is_active = slot, {"suspend": suspend}, True
    world.annotate(**({"cancel_requested_at": "c"} if cancel else {}), **({"retry_requested_at": "r"} if retry else {}))
    for _ in range(4):
        decision = world.decide()
        told = getattr(decision, "status", None)
        if told is None:
            return
        assert told.observed_generation == 1
        assert told.phase is not None
        assert {c.type for c in told.conditions} == {"Succeeded", "Ready", "Reconciling", "Stalled"}
        assert (told.run_ref is None) or not world.told(told).resource().is_over
        world.told(told)
        if told.run_ref is None:
            world.run = None
    assert isinstance(world.decide(), d.WaitForSlot | d.StartAttempt | d.RecordEnd | d.Requeue | d.WriteStatus)


@given(
    st.builds(
        AttemptEnd,
        kind=st.sampled_from(EndKind),
        attempt=st.integers(0, 20),
        reason=st.sampled_from(Reason),
        message=st.text(max_size=50),
        finished_at=st.just(NOW),
    )
)
def test_an_end_survives_the_record(end: AttemptEnd) -> None:
    assert AttemptEnd.from_result(end.to_result()) == end
