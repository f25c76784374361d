"""The life of a ProjectSetup, as a table of facts and decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.api.models import Commits, ProjectSetupStatus, RunRef, status_to_dict
from projectsetup.api.reasons import Phase, Reason
from projectsetup.controller import decisions as d
from projectsetup.controller.claims import ClaimRefusal, claim_refusal, hiding
from projectsetup.controller.facts import RecordRead, RunView
from projectsetup.controller.lifecycle import decide, decide_deleted, needs_record
from projectsetup.controller.outcome import AttemptEnd, AttemptStopped, EndKind, RunOutcome, StopCause
from projectsetup.projects.model import Owner, Project, ProjectStatus
from projectsetup.setup.types import InfrastructureError, NotStarted, Progress, SetupFailed, SetupSucceeded
from tests.support.lifecycle_world import (
    AT_COMPILE,
    BROKEN,
    CANCEL,
    DEPENDENCY_LIMIT,
    DOWN,
    FAILED,
    ID,
    MISSING,
    NOW,
    RETRY,
    SUCCEEDED,
    SUSPENDED,
    THEM,
    UID,
    US,
    Change,
    World,
    awaiting,
    backing_off,
    ended,
    expect,
    finished,
    left_running,
    project,
    reasons,
    running,
    succeeded_reason,
)


def done_with(recipe: str | None, **parameters: str) -> dict[str, Any]:
    """The end of a successful setup as the record keeps it; None: an older version wrote it."""
    return AttemptEnd(
        kind=EndKind.SUCCEEDED,
        attempt=1,
        reason=Reason.SETUP_SUCCEEDED,
        message="done",
        finished_at=NOW,
        commits=Commits(code_repo="c0de"),
        recipe=recipe,
        parameters=None if recipe is None else parameters,
    ).to_result()


REQUESTED = {"recipe": "service", "parameters": {"license": "MIT"}}


def row(name: str, world: World, kind: type[Any], **expected: Any) -> Any:
    return pytest.param(world, kind, expected, id=name)


NEW = World(project=project(), slot=True)
LATER = NOW + timedelta(hours=1)
STOPPING = {"run_stopping": StopCause.CANCEL, "run_progress": AT_COMPILE}
STOPS = running().annotate(**CANCEL).replace(**STOPPING)
GIVES_UP = awaiting().replace(now=NOW + DEPENDENCY_LIMIT)
NOT_FOUND, INVALID = ("False", Reason.PROJECT_NOT_FOUND), ("False", Reason.INVALID_SPEC)
EXHAUSTED = ("False", Reason.ATTEMPTS_EXHAUSTED)
TOO_LATE = {"message": f"{MISSING}; gave up waiting after 10m", "dependency_missing_since": None, "attempt": 0}
FIRST = {"number": 1, "attempt": 1, "max_attempts": 3, "phase": Phase.RUNNING, "started_at": NOW}
FIRST_STEP = {"step": "generate", "progress": "0/7", "project_status": "initializing", "observed_generation": 1}
WAITS = {"phase": Phase.QUEUED, "queued_at": NOW - timedelta(minutes=1), "project_status": "setup_queued"}
STARTED = {"events": ["Started"]}
SOON = NOW + timedelta(milliseconds=300)
AT_STEP = running().replace(run_progress=AT_COMPILE)
REPORTED = AT_STEP.replace(last_progress_write=NOW)
COALESCED: dict[str, Any] = {"events": ["RetryCoalesced"], "last_handled_retry": "r"}
AT_THE_END = {"step": "compile", "progress": "3/7", "project_status": "failed"}
DONE = project("ready", US, attempt=1, result=done_with("any"))
MOVED = project("compiling", US, attempt=2, fence=9)
CLAIMED = project("initializing", US, attempt=1, fence=5)
FENCED = AttemptStopped(StopCause.FENCED)
ENDS_LATER = running().replace(run_outcome=FAILED, run_progress=AT_COMPILE)
ENDS_WITHOUT_PROJECT = running().replace(run_outcome=FENCED, project=None)
LOWERED = backing_off().annotate(max_attempts="1").replace(now=LATER)
LATER_MISSING = backing_off().replace(missing=MISSING, now=LATER)
SECOND_FAILED = ended(running(), FAILED).end.model_copy(update={"attempt": 2}).to_result()
RECORDED = left_running().replace(project=project("failed", US, attempt=2, fence=10, result=SECOND_FAILED))


@pytest.mark.parametrize(
    ("world", "kind", "expected"),
    [
        row("a new setup with a slot", NEW, d.StartAttempt, events=[], **FIRST, **FIRST_STEP),
        row("a new setup without one", NEW.replace(slot=False), d.WaitForSlot, **WAITS),
        row("a setup from setup_queued", NEW.replace(project=project("setup_queued")), d.StartAttempt),
        row("a setup from failed", NEW.replace(project=project("failed")), d.StartAttempt),
        row("a claim without a status", NEW.replace(project=CLAIMED), d.StartAttempt, number=1),
        row("a suspension, no database", World(record=DOWN, spec=SUSPENDED), d.WriteStatus, phase=Phase.SUSPENDED),
        row("a lost response to the start", running().replace(run=None, prepared_fence=5), d.StartPrepared),
        row("a start of another attempt", running().replace(run=None, prepared_fence=4), d.RecordEnd),
        row("a dependency that stays missing", GIVES_UP, d.RecordEnd, succeeded=INVALID, events=["Failed"], **TOO_LATE),
        row("a retry during the wait for it", awaiting().annotate(**RETRY), d.AwaitDependency, **COALESCED),
        row("a cancel of an attempt that stops", STOPS, d.WriteStatus, last_handled_cancel=None),
        row("an attempt that has run for a second", running().replace(run_announce_at=NOW), d.AnnounceStart, **STARTED),
        row("one that has not", running().replace(run_announce_at=SOON), d.Requeue, until=SOON),
        row("one that has reached a step", AT_STEP.replace(run_announce_at=SOON), d.WriteStatus, until=SOON),
        row("and was just reported", REPORTED.replace(run_announce_at=SOON), d.Requeue, until=SOON),
        row("an end without a database", running().replace(run_outcome=SUCCEEDED, record=DOWN), d.Requeue),
        row("an end under a moved fence", running().replace(run_outcome=BROKEN, project=MOVED), d.StepDown),
        row("an end without a project", ENDS_WITHOUT_PROJECT, d.WriteStatus, succeeded=NOT_FOUND, run_ref=None),
        row("an end at an unreported step", ENDS_LATER, d.RecordEnd, **AT_THE_END),
        row("a lowered limit", LOWERED, d.RecordEnd, succeeded=EXHAUSTED),
        row("a retry during an attempt", running().annotate(**RETRY), d.WriteStatus, phase=Phase.RUNNING, **COALESCED),
        row("a recorded success", NEW.replace(project=DONE), d.WriteStatus, succeeded=("True", Reason.SETUP_SUCCEEDED)),
        row("an adoption before a cancel", left_running().annotate(**CANCEL), d.AdoptAttempt),
        row("an adoption before a retry", left_running().annotate(**RETRY), d.AdoptAttempt),
        row("an adoption without a database", left_running().replace(record=DOWN), d.Requeue),
        row("an adoption of what has ended", RECORDED, d.WriteStatus, succeeded=("False", Reason.STEP_FAILED)),
        row("the delay of what lacks a dependency", backing_off().replace(missing=MISSING), d.Requeue),
        row("a dependency after the delay", LATER_MISSING, d.AwaitDependency, attempt=1),
    ],
)
def test_decisions(world: World, kind: type[Any], expected: dict[str, Any]) -> None:
    decision = expect(world.decide(), kind, **expected)
    if kind is d.StartAttempt:
        assert decision.status.run_ref is not None


# --- before an attempt


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (World(slot=True), Reason.PROJECT_NOT_FOUND),
        (World(slot=True, project=project("testing")), Reason.PROJECT_INVALID_STATE),
        (World(name="shop"), Reason.INVALID_SPEC),
    ],
)
def test_a_request_for_a_project_that_it_may_not_claim_fails_in_its_status_alone(world: World, reason: Reason) -> None:
    decision = world.decide()
    expect(decision, d.WriteStatus, succeeded=("False", reason), events=["Failed"], phase=Phase.FAILED)
    assert not decision.status.failure.retryable  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "world",
    [
        World().annotate(priority="10"),
        World(input_problem="there is no recipe 'x'"),
        World(spec={"timeout": "soon"}),
    ],
)
def test_an_invalid_spec_is_terminal_and_recorded(world: World) -> None:
    decision = world.replace(project=project()).decide()
    end = expect(decision, d.RecordEnd, succeeded=("False", Reason.INVALID_SPEC)).end
    assert end.project_status is ProjectStatus.FAILED
    assert end.setup_error["reason"] == "InvalidSpec"
    assert set(end.setup_error) == {"reason", "step", "message"}


def test_another_owner_is_looked_up_before_it_blocks_the_setup() -> None:
    world = World(project=project("compiling", THEM), slot=True)
    assert world.decide() == d.ReleaseOwner(THEM)
    decision = world.replace(owner_is_active=True).decide()
    expect(decision, d.WriteStatus, succeeded=("False", Reason.PROJECT_CLAIMED))
    assert f"other/{ID}" in decision.status.conditions[0].message  # type: ignore[union-attr]


def test_a_suspended_setup_starts_nothing_and_says_so_once() -> None:
    world = World(project=project(), spec=SUSPENDED, slot=True)
    decision = expect(world.decide(), d.WriteStatus, phase=Phase.SUSPENDED)
    assert world.written(decision.status).decide() == d.Requeue()


def test_waiting_for_the_database_uses_up_no_attempt() -> None:
    world = World(record=DOWN, slot=True)
    decision = expect(world.decide(), d.WriteStatus, succeeded=("Unknown", Reason.DATABASE_UNAVAILABLE), attempt=0)
    world = world.written(decision.status)
    expect(world.decide(), d.Requeue)
    expect(world.replace(record=None, project=project()).decide(), d.StartAttempt)


@pytest.mark.parametrize("requests", [CANCEL, CANCEL | RETRY])
def test_a_cancel_before_the_start_is_recorded_and_wins_over_a_retry(requests: dict[str, str]) -> None:
    decision = World(project=project(), slot=True).annotate(**requests).decide()
    end = expect(decision, d.RecordEnd, phase=Phase.CANCELLED, last_handled_cancel="c").end
    assert decision.status.last_handled_retry == ("r" if requests != CANCEL else None)  # type: ignore[union-attr]
    assert end.project_status is ProjectStatus.FAILED
    assert reasons(decision)[0] == "Cancelled"


# --- a project that is ready


@pytest.mark.parametrize("owner", [None, Owner("uid-0", "team", ID)])
@pytest.mark.parametrize("result", [None, done_with(None), done_with("service", license="MIT")])
@pytest.mark.parametrize("namespace", ["team", None])
def test_a_ready_project_that_matches_the_request_is_a_success_and_nothing_runs(
    result: dict[str, Any] | None, owner: Owner | None, namespace: str | None
) -> None:
    ready = project("ready", owner, result=result, namespace=namespace)
    world = World(project=ready, spec=REQUESTED, slot=True, input_problem="its recipe is gone", missing=MISSING)
    decision = expect(
        world.decide(),
        d.WriteStatus,
        succeeded=("True", Reason.ALREADY_SET_UP),
        events=["Succeeded"],
        phase=Phase.SUCCEEDED,
        attempt=0,
        project_status="ready",
        commits=Commits(code_repo="c0de") if result and namespace else None,  # only its own namespace sees them
    )
    assert world.written(decision.status).decide() == d.Requeue()


@pytest.mark.parametrize(
    ("result", "differs"),
    [
        (done_with("other", license="MIT"), "with recipe other, but this ProjectSetup requests recipe service"),
        (done_with("service", license="GPL"), "with license='GPL', but this ProjectSetup requests license='MIT'"),
        (done_with("service", license="MIT", x="1"), "with x='1', but this ProjectSetup requests no x"),
        (done_with("service"), "with no license, but this ProjectSetup requests license='MIT'"),
    ],
)
def test_a_ready_project_that_differs_from_the_request_is_a_failure_that_names_both(
    result: dict[str, Any], differs: str
) -> None:
    decision = World(project=project("ready", result=result, namespace="team"), spec=REQUESTED).decide()
    message = f"the project is already set up {differs}"
    expect(decision, d.WriteStatus, succeeded=("False", Reason.PROJECT_INVALID_STATE), message=message)


def test_a_success_records_its_recipe_and_parameters() -> None:
    end = ended(running().replace(spec=REQUESTED), SUCCEEDED).end
    assert (end.recipe, end.parameters) == ("service", {"license": "MIT"})


# --- a project of another namespace

ELSEWHERE = RecordRead(None, ClaimRefusal(Reason.PROJECT_CLAIMED, "project belongs to another namespace"))


@pytest.mark.parametrize("engine", ["local", "job"])
@pytest.mark.parametrize(
    ("spec", "annotations", "reason"),
    [
        ({}, {}, Reason.PROJECT_CLAIMED),
        ({"timeout": "soon"}, {}, Reason.PROJECT_CLAIMED),
        ({}, {"priority": "10"}, Reason.PROJECT_CLAIMED),
        ({}, RETRY, Reason.PROJECT_CLAIMED),
        ({}, CANCEL, Reason.CANCELLED),
        (SUSPENDED, CANCEL, Reason.CANCELLED),
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
    decision = expect(world.decide(), d.WriteStatus, project_status=None, step=None, run_ref=None)
    if "runRef" not in status:
        assert succeeded_reason(decision.status) == ("False", reason)
    assert world.written(decision.status).resource().is_over


@pytest.mark.parametrize(
    ("found", "required", "reason"),
    [
        (None, False, Reason.PROJECT_NOT_FOUND),
        (project(), False, None),
        (project(), True, Reason.PROJECT_NOT_FOUND),
        (project(namespace="team"), True, None),
        (project("testing", THEM, result={"end": 1}, namespace="other"), False, Reason.PROJECT_CLAIMED),
    ],
    ids=["none", "unassigned", "unassigned where a namespace is required", "own", "foreign"],
)
def test_what_hides_a_project_names_neither_owner_nor_state(
    found: Project | None, required: bool, reason: Reason | None
) -> None:
    resource = World().resource()
    hidden = hiding(resource, found, namespace_required=required)
    assert (None if hidden is None else (hidden.reason, hidden.owner)) == (None if reason is None else (reason, None))
    if reason is Reason.PROJECT_CLAIMED:
        assert claim_refusal(resource, found) == hidden
    if reason is Reason.PROJECT_NOT_FOUND:
        assert hidden == hiding(resource, None, namespace_required=required)


# --- the project of the spec

SHOP = {"name": "Shop", "codeRepo": "https://git.example/shop"}
FROM_SPEC = World(spec={"project": SHOP}, slot=True)
SWITCHED_OFF = (
    f"project {ID} does not exist, and this operator does not create projects from spec"
    " (PROJECTSETUP_PROJECTS_FROM_SPEC is false)"
)


def test_a_project_that_does_not_exist_is_created_from_the_spec() -> None:
    wanted = expect(FROM_SPEC.decide(), d.CreateProject).project
    assert (wanted.name, wanted.code_repo, wanted.docs_repo) == ("Shop", "https://git.example/shop", None)


@pytest.mark.parametrize("fields", [{}, {"description": ""}, {"name": " Shop "}])
def test_a_project_that_matches_the_spec_is_set_up(fields: dict[str, str]) -> None:
    world = World(spec={"project": SHOP | fields}, slot=True, project=project())
    started = expect(world.decide(), d.StartAttempt)
    assert started.status.project_name == "Shop"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "Other"}, ".name is 'Other', but the project's is 'Shop'"),
        ({"codeRepo": "https://x/y"}, ".codeRepo is 'https://x/y', but the project's is 'https://git.example/shop'"),
        ({"docsRepo": "https://x/d"}, ".docsRepo is 'https://x/d', but the project's is none"),
        ({"description": "Sells"}, ".description is 'Sells', but the project's is ''"),
        ({"name": "\u200b"}, ": the name must not be empty"),
    ],
)
@pytest.mark.parametrize("status", ["created", "ready"])
def test_a_project_that_differs_from_the_spec_is_left_alone(fields: dict[str, str], message: str, status: str) -> None:
    world = World(spec={"project": SHOP | fields}, slot=True, project=project(status))
    expect(world.decide(), d.WriteStatus, succeeded=INVALID, message=f"spec.project{message}")


@pytest.mark.parametrize(
    ("facts", "reason", "message"),
    [
        ({"creation_problem": "Shop exists"}, Reason.INVALID_SPEC, "spec.project: Shop exists"),
        ({"projects_from_spec": False}, Reason.PROJECT_NOT_FOUND, SWITCHED_OFF),
        ({"record": ELSEWHERE}, Reason.PROJECT_CLAIMED, "project belongs to another namespace"),
    ],
)
def test_a_project_that_is_not_created_from_the_spec(facts: dict[str, Any], reason: Reason, message: str) -> None:
    expect(FROM_SPEC.replace(**facts).decide(), d.WriteStatus, succeeded=("False", reason), message=message)


@pytest.mark.parametrize("world", [FROM_SPEC.annotate(**CANCEL), replace(FROM_SPEC, spec=SUSPENDED | FROM_SPEC.spec)])
def test_no_project_is_created_for_a_setup_that_does_not_start(world: World) -> None:
    expect(world.decide(), d.WriteStatus)


# --- a missing dependency


def test_waiting_for_a_missing_dependency_uses_up_no_attempt() -> None:
    decision = expect(
        World(project=project(), missing=MISSING, slot=True).decide(),
        d.AwaitDependency,
        succeeded=("Unknown", Reason.DEPENDENCY_MISSING),
        message=f"{MISSING}; waiting for it until 2026-05-01T12:10:00Z",
        events=["DependencyMissing"],
        phase=Phase.QUEUED,
        attempt=0,
        dependency_missing_since=NOW,
    )
    assert decision.until == NOW + DEPENDENCY_LIMIT
    assert {c.type: c.status for c in decision.status.conditions}["Reconciling"] == "True"


def test_the_wait_counts_from_the_time_in_status_and_is_reported_once() -> None:
    world = awaiting().replace(now=NOW + DEPENDENCY_LIMIT - timedelta(seconds=1))
    decision = expect(world.decide(), d.AwaitDependency, events=[])
    assert (decision.status, decision.until) == (world.resource().status, NOW + DEPENDENCY_LIMIT)


@pytest.mark.parametrize("slot", [True, False])
def test_once_the_dependency_exists_the_setup_continues_and_a_later_wait_starts_over(slot: bool) -> None:
    world = awaiting().replace(missing=None, slot=slot, now=NOW + timedelta(minutes=9))
    expect(world.decide(), d.StartAttempt if slot else d.WaitForSlot, dependency_missing_since=None)
    world = world.written(expect(world.replace(slot=False).decide(), d.WaitForSlot).status)
    again = expect(world.replace(missing=MISSING, now=NOW + timedelta(minutes=20)).decide(), d.AwaitDependency)
    assert again.until == NOW + timedelta(minutes=20) + DEPENDENCY_LIMIT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda world: world.annotate(**CANCEL), Reason.CANCELLED),
        (lambda world: world.annotate(priority="10"), Reason.INVALID_SPEC),
        (lambda world: world.replace(input_problem="parameter x is not declared"), Reason.INVALID_SPEC),
        (lambda world: world.replace(project=None), Reason.PROJECT_NOT_FOUND),
        (lambda world: world.replace(spec=SUSPENDED), Reason.SUSPENDED),
        (lambda world: world.replace(record=DOWN), Reason.DATABASE_UNAVAILABLE),
    ],
)
def test_what_outranks_a_missing_dependency(change: Change, reason: Reason) -> None:
    assert succeeded_reason(change(awaiting()).decide().status)[1] == reason  # type: ignore[union-attr]


# --- during an attempt


def test_progress_is_written_at_most_once_a_second() -> None:
    world = running()
    assert world.decide() == d.Requeue()
    world = world.replace(run_progress=AT_COMPILE, last_progress_write=NOW, now=NOW + timedelta(milliseconds=400))
    assert world.decide() == d.Requeue(until=NOW + timedelta(seconds=1))
    decision = world.replace(now=NOW + timedelta(seconds=1)).decide()
    expect(decision, d.WriteStatus, step="compile", progress="3/7", project_status="compiling")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda world: world.annotate(**CANCEL), StopCause.CANCEL),
        (lambda world: world.replace(spec=SUSPENDED), StopCause.SUSPEND),
        (lambda world: world.replace(spec=SUSPENDED).annotate(**CANCEL), StopCause.CANCEL),
    ],
)
def test_what_stops_a_running_attempt(change: Change, cause: StopCause) -> None:
    world = change(running())
    assert world.decide() == d.StopRun(cause)
    assert not isinstance(world.replace(run_stopping=cause).decide(), d.StopRun)


def test_an_attempt_that_was_left_running_is_neither_stopped_nor_ended_here() -> None:
    world = running().annotate(**CANCEL).replace(run_stopping=StopCause.SHUTDOWN, run_left_running=True)
    assert world.run is not None
    assert (world.decide(), decide_deleted(world.run)) == (d.Requeue(), d.Requeue())


# --- the end of an attempt


def test_success() -> None:
    before = {"reason": "StepKilled", "message": "killed", "retryable": True}
    world = running().replace(status=running().status | {"failure": before})
    assert world.resource().status.failure is not None
    decision = expect(
        ended(world, SetupSucceeded(code_commit="c" * 40, docs_commit=None)),
        d.RecordEnd,
        succeeded=("True", Reason.SETUP_SUCCEEDED),
        events=["Succeeded"],
        phase=Phase.SUCCEEDED,
        project_status="ready",
        progress="7/7",
        commits=Commits(code_repo="c" * 40),
        failure=None,
        run_ref=None,
        finished_at=NOW,
    )
    assert (decision.fence, decision.end.project_status, decision.end.setup_error) == (5, ProjectStatus.READY, None)
    assert [record.outcome for record in decision.status.attempts] == ["Succeeded"]


def test_a_business_failure_is_terminal_at_the_first_attempt() -> None:
    message = "step compile failed with exit code 2: no"
    decision = ended(running(), SetupFailed("compile", 2, message))
    expect(decision, d.RecordEnd, succeeded=("False", Reason.STEP_FAILED), next_attempt_at=None)
    failure = decision.status.failure
    assert (failure.step, failure.exit_code, failure.retryable) == ("compile", 2, False)
    assert failure.message == message
    full = f"{message}; full output: projectsetup logs {ID}"
    assert decision.end.setup_error == {"reason": "StepFailed", "step": "compile", "message": full}


@pytest.mark.parametrize(
    "reason",
    [Reason.STEP_TRANSIENT, Reason.STEP_TIMED_OUT, Reason.STEP_KILLED, Reason.INTERRUPTED, Reason.ENGINE_ERROR],
)
def test_an_infrastructure_failure_is_retried_after_its_delay(reason: Reason) -> None:
    decision = expect(
        ended(running(), InfrastructureError(reason, "gone", step="push")),
        d.RecordEnd,
        succeeded=("Unknown", Reason.RETRY_SCHEDULED),
        message=f"attempt 1 of 3 failed: {reason}: gone; next attempt at 12:00:15 UTC",
        events=["RetryScheduled"],
        phase=Phase.BACKING_OFF,
        attempt=1,
        next_attempt_at=NOW + timedelta(seconds=15),
    )
    assert decision.end.project_status is ProjectStatus.SETUP_QUEUED
    assert (decision.status.failure.reason, decision.status.failure.retryable) == (reason, True)
    assert [record.reason for record in decision.status.attempts] == [reason]


def test_the_last_attempt_exhausts_the_limit() -> None:
    decision = ended(running(3), BROKEN)
    expect(decision, d.RecordEnd, succeeded=("False", Reason.ATTEMPTS_EXHAUSTED))
    assert decision.status.failure.reason == Reason.STEP_KILLED
    assert decision.end.setup_error["reason"] == "AttemptsExhausted"


@pytest.mark.parametrize("outcome", [AttemptStopped(StopCause.CANCEL), BROKEN])
def test_a_cancelled_attempt_is_never_retried(outcome: RunOutcome) -> None:
    decision = ended(running().annotate(**CANCEL), outcome)
    message = "cancelled during attempt 1; all its processes have ended"
    expect(decision, d.RecordEnd, message=message, phase=Phase.CANCELLED, last_handled_cancel="c")
    assert decision.end.setup_error["reason"] == "Cancelled"


@pytest.mark.parametrize(("outcome", "phase"), [(SUCCEEDED, Phase.SUCCEEDED), (FAILED, Phase.FAILED)])
def test_an_outcome_that_came_before_the_cancel_stands(outcome: RunOutcome, phase: Phase) -> None:
    decision = ended(running().annotate(**CANCEL), outcome)
    expect(decision, d.RecordEnd, phase=phase, last_handled_cancel="c")
    assert "CancelIgnored" in reasons(decision)


RELEASED = "attempt 2 was stopped by {} and does not count"


@pytest.mark.parametrize(
    ("spec", "cause", "phase", "message"),
    [
        (SUSPENDED, StopCause.SUSPEND, Phase.SUSPENDED, "suspended by spec.suspend; no attempt starts"),
        ({}, StopCause.SHUTDOWN, Phase.QUEUED, RELEASED.format("an operator shutdown")),
        ({}, StopCause.LEASE_LOST, Phase.QUEUED, RELEASED.format("the loss of the leader lease")),
    ],
)
def test_an_attempt_that_was_stopped_does_not_count(
    spec: dict[str, Any], cause: StopCause, phase: Phase, message: str
) -> None:
    decision = ended(running(2).replace(spec=spec), AttemptStopped(cause))
    expect(decision, d.RecordEnd, message=message, phase=phase, attempt=1, attempts=())
    assert decision.end.project_status is ProjectStatus.SETUP_QUEUED


def test_an_attempt_that_could_not_start_does_not_count_and_is_tried_again_later() -> None:
    due = NOW + timedelta(seconds=30)
    decision = ended(running(), NotStarted("exceeded quota: few"))
    message = "attempt 1 could not start and does not count; next attempt at 12:00:30 UTC: exceeded quota: few"
    queued: dict[str, Any] = {"phase": Phase.QUEUED, "attempt": 0, "attempts": (), "run_ref": None}
    expect(decision, d.RecordEnd, message=message, next_attempt_at=due, **queued)
    assert (decision.end.kind, decision.end.attempts_used) == (EndKind.RELEASED, 0)
    world = World(project=project("setup_queued", US, attempt=0), slot=True).written(decision.status)
    assert world.decide() == d.Requeue(until=due)
    expect(world.replace(now=due).decide(), d.StartAttempt)


# --- between two attempts


def test_backing_off_holds_no_slot_and_ends_when_due() -> None:
    due = NOW + timedelta(seconds=15)
    assert backing_off().decide() == d.Requeue(until=due)
    expect(backing_off().replace(now=due).decide(), d.WaitForSlot)
    decision = expect(backing_off().replace(now=due, slot=True).decide(), d.StartAttempt, next_attempt_at=None)
    assert decision.number == 2


@pytest.mark.parametrize("interruption", [{"spec": SUSPENDED}, {"record": DOWN}], ids=["suspended", "no database"])
def test_an_interruption_of_backing_off(interruption: dict[str, Any]) -> None:
    before = backing_off().resource().status
    interrupted = expect(backing_off().replace(**interruption).decide(), d.WriteStatus)
    assert interrupted.status.phase is not Phase.BACKING_OFF
    world = backing_off().written(interrupted.status)
    decision = expect(world.decide(), d.WriteStatus, phase=before.phase, attempt=before.attempt)
    assert _conditions(decision.status) == _conditions(before)
    assert decision.until == before.next_attempt_at
    assert world.written(decision.status).decide() == d.Requeue(until=before.next_attempt_at)


@pytest.mark.parametrize(
    "obstacle", [{}, {"spec": SUSPENDED}, {"record": DOWN}], ids=["none", "suspended", "no database"]
)
def test_a_retry_while_backing_off_ends_the_delay_but_not_the_series(obstacle: dict[str, Any]) -> None:
    decision = backing_off().annotate(**RETRY).replace(**obstacle).decide()
    expect(decision, d.WriteStatus, next_attempt_at=NOW, attempt=1, **COALESCED)


def test_the_last_ten_attempts_are_kept() -> None:
    old = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:00Z", "message": ""}
    earlier = [{"number": number, "outcome": "Failed", "reason": "Old", **old} for number in range(1, 11)]
    decision = ended(running().replace(status=running().status | {"attempts": earlier}), FAILED)
    kept = [(attempt.number, attempt.reason) for attempt in decision.status.attempts]
    assert kept == [*((number, "Old") for number in range(2, 11)), (1, "StepFailed")]


# --- after a crash


@pytest.mark.parametrize(
    "world",
    [running().replace(run=None), left_running("local"), left_running("other")],
    ids=["local", "was job", "other"],
)
def test_an_attempt_that_did_not_outlive_its_operator_is_interrupted(world: World) -> None:
    decision = expect(world.decide(), d.RecordEnd, phase=Phase.BACKING_OFF)
    assert world.project is not None
    assert (decision.fence, decision.end.failure.reason) == (world.project.fence, Reason.INTERRUPTED)


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
    world = running(attempt).replace(run_progress=AT_COMPILE)
    decision = ended(world, outcome)
    result = decision.end.to_result()
    recorded = project(str(decision.end.project_status), US, attempt=attempt, fence=6, result=result)
    world = world.replace(run=None, project=recorded, now=NOW + timedelta(seconds=seconds))
    completed = expect(world.decide(), d.WriteStatus)
    assert _without_transitions(completed.status) == _without_transitions(decision.status)
    assert completed.events == decision.events
    continues = decision.end.kind in {EndKind.RETRY, EndKind.RELEASED}
    assert completed.until == (world.now if continues else None)


@pytest.mark.parametrize(
    "world",
    [running().replace(run_outcome=FAILED), running().replace(run=None)],
    ids=["at once", "by the next operator"],
)
def test_an_end_is_completed_after_the_project_was_requested_again(world: World) -> None:
    """The request has queued the project and removed its owner before `.status` reported the end."""
    end = ended(running(), FAILED).end
    queued = project("setup_queued", None, attempt=1, fence=7, result=end.to_result())
    expect(world.replace(project=queued).decide(), d.WriteStatus, succeeded=("False", Reason.STEP_FAILED))


def _without_transitions(status: ProjectSetupStatus) -> dict[str, Any]:
    return {**status_to_dict(status), "conditions": _conditions(status)}


def _conditions(status: ProjectSetupStatus) -> list[tuple[str, str, str, str]]:
    return [(c.type, c.status, c.reason, c.message) for c in status.conditions]


# --- adoption


def test_the_name_of_a_run_is_reported_before_the_run_exists() -> None:
    assert left_running().status["runRef"] == {"engine": "job", "name": f"setup-{ID}-2-9-token", "id": f"{UID}-9"}


def test_the_id_of_a_run_is_the_digest_of_its_plan() -> None:
    facts = World(project=project(), slot=True, engine="job").facts()
    decision = decide(replace(facts, recipe=replace(facts.recipe, digest="sha256:of-the-plan")))
    assert expect(decision, d.StartAttempt).status.run_ref.id == "sha256:of-the-plan"


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        ({"step": "compile", "progress": "3/7"}, AT_COMPILE),
        ({"step": None, "progress": "some"}, Progress("compiling", "", 0, 0)),
    ],
    ids=["as written", "written by another version"],
)
def test_a_run_that_outlived_its_operator_is_adopted_where_it_was(status: dict[str, Any], progress: Progress) -> None:
    world = left_running()
    run = RunRef(engine="job", name=f"setup-{ID}-2-9-token", id=f"{UID}-9")
    assert world.replace(status=world.status | status).decide() == d.AdoptAttempt(2, run, progress)


@pytest.mark.parametrize(
    "found", [None, project("ready", US, attempt=2), project("created", None), project("testing", THEM)]
)
def test_nothing_is_adopted_for_a_project_that_is_no_longer_ours(found: Project | None) -> None:
    assert not isinstance(left_running().replace(project=found).decide(), d.AdoptAttempt)


# --- after the setup has ended


def test_nothing_is_written_to_a_setup_that_has_ended() -> None:
    assert finished().decide() == d.Requeue()
    assert not needs_record(finished().resource(), None)


def test_the_observed_generation_of_an_ended_setup_stays_up_to_date() -> None:
    world = finished().replace(generation=2)
    decision = expect(world.decide(), d.WriteStatus, observed_generation=2)
    assert {c.observed_generation for c in decision.status.conditions} == {2}
    assert world.written(decision.status).decide() == d.Requeue()


def test_a_retry_starts_a_new_series_and_keeps_the_attempts() -> None:
    world = finished().annotate(**RETRY)
    new: dict[str, Any] = {"phase": Phase.QUEUED, "attempt": 0, "queued_at": NOW, "last_handled_retry": "r"}
    decision = expect(world.decide(), d.WriteStatus, events=["RetryRequested"], **new)
    assert len(decision.status.attempts) == 1
    world = world.written(decision.status).replace(project=project("failed", US, attempt=1, fence=6), slot=True)
    assert expect(world.decide(), d.StartAttempt).number == 1


def test_a_retry_in_the_second_in_which_its_predecessor_was_queued_has_the_next_one() -> None:
    world = finished().annotate(**RETRY)
    queued = world.resource().status.model_copy(update={"queued_at": NOW})
    expect(world.written(queued).decide(), d.WriteStatus, queued_at=NOW + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("outcome", "annotations", "events"),
    [
        (SUCCEEDED, RETRY, ["RetryIgnored"]),
        (SUCCEEDED, RETRY | {"priority": "x"}, ["RetryIgnored"]),
        (FAILED, CANCEL | RETRY, ["CancelIgnored", "RetryIgnored"]),
    ],
    ids=["a retry after a success", "with an invalid annotation", "a cancel wins over a retry"],
)
def test_requests_that_come_too_late_are_ignored_once(
    outcome: RunOutcome, annotations: dict[str, str], events: list[str]
) -> None:
    world = finished(outcome).annotate(**annotations)
    handled: dict[str, Any] = {"last_handled_retry": "r", "last_handled_cancel": annotations.get("cancel_requested_at")}
    decision = expect(
        world.decide(), d.WriteStatus, events=events, phase=finished(outcome).resource().status.phase, **handled
    )
    assert world.written(decision.status).decide() == d.Requeue()


def test_a_retry_that_comes_with_a_cancel_is_ignored_when_the_attempt_has_ended() -> None:
    world = STOPS.annotate(**RETRY)
    decision = expect(world.decide(), d.WriteStatus, events=[], last_handled_retry=None)
    decision = ended(world.written(decision.status), AttemptStopped(StopCause.CANCEL))
    handled: dict[str, Any] = {"last_handled_retry": "r", "last_handled_cancel": "c"}
    expect(decision, d.RecordEnd, events=["Cancelled", "RetryIgnored"], **handled)


@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED])
def test_a_retry_that_comes_with_the_end_is_coalesced(outcome: RunOutcome) -> None:
    decision = expect(ended(running().annotate(**RETRY), outcome), d.RecordEnd, last_handled_retry="r")
    assert reasons(decision)[1:] == ["RetryCoalesced"]


@pytest.mark.parametrize(
    ("run", "decision"),
    [
        (None, d.ReleaseClaim()),
        (RunView(UID, 1, 5, AT_COMPILE), d.StopRun(StopCause.DELETED)),
        (RunView(UID, 1, 5, AT_COMPILE, stopping=StopCause.DELETED), d.Requeue()),
        (RunView(UID, 1, 5, AT_COMPILE, outcome=AttemptStopped(StopCause.DELETED)), d.ReleaseClaim()),
        (RunView(UID, 1, 5, AT_COMPILE, outcome=SUCCEEDED), d.ReleaseClaim(ready_fence=5)),
    ],
)
def test_what_a_deleted_setup_leaves(run: RunView | None, decision: d.Decision) -> None:
    assert decide_deleted(run) == decision


# --- all of it


@given(
    status=st.sampled_from([s.value for s in ProjectStatus]),
    owner=st.sampled_from([None, US, THEM]),
    slot=st.booleans(),
    suspend=st.booleans(),
    attempt=st.integers(0, 4),
    requests=st.sampled_from([{}, CANCEL, RETRY, CANCEL | RETRY]),
    unavailable=st.booleans(),
    start=st.sampled_from([World, running, backing_off, finished]),
    outcome=st.one_of(st.none(), outcomes),
)
def test_every_decision_reports_the_generation_and_settles(
    *,
    status: str,
    owner: Owner | None,
    slot: bool,
    suspend: bool,
    attempt: int,
    requests: dict[str, str],
    unavailable: bool,
    start: Callable[[], World],
    outcome: RunOutcome | None,
) -> None:
    world = start().annotate(**requests)
    if world.run is not None:
        world = world.replace(run_outcome=outcome)
    world = world.replace(
        project=project(status, owner, attempt=attempt, fence=5),
        record=DOWN if unavailable else None,
        slot=slot,
        spec={"suspend": suspend},
        owner_is_active=True,
    )
    for _ in range(4):
        new = getattr(world.decide(), "status", None)
        if new is None:
            return
        assert new.observed_generation == 1
        assert new.phase is not None
        assert {c.type for c in new.conditions} == {"Succeeded", "Ready", "Reconciling", "Stalled"}
        world = world.written(new)
        assert new.run_ref is None or not world.resource().is_over
        if new.run_ref is None:
            world = world.replace(run=None)
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
