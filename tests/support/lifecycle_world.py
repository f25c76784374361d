"""Builds the facts about one ProjectSetup, for tests of decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from projectsetup.api.models import ProjectSetupResource, ProjectSetupStatus, parse_resource, status_to_dict
from projectsetup.api.reasons import Reason
from projectsetup.controller import decisions as d
from projectsetup.controller.facts import Facts, RecipePlan, RecordRead, RecordUnavailable, RunView
from projectsetup.controller.lifecycle import decide
from projectsetup.controller.outcome import RunOutcome
from projectsetup.projects.model import Owner, Project, ProjectStatus
from projectsetup.setup.types import InfrastructureError, Progress, SetupFailed, SetupSucceeded

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
DOWN = RecordUnavailable("PostgreSQL refuses connections")
CANCEL, RETRY = {"cancel_requested_at": "c"}, {"retry_requested_at": "r"}
SUSPENDED = {"suspend": True}
SUCCEEDED, FAILED = SetupSucceeded(None, None), SetupFailed("compile", 2, "no")
BROKEN = InfrastructureError(Reason.STEP_KILLED, "killed by SIGKILL", step="test")


@dataclass
class World:
    """The facts, and the `.status` that the decisions have written."""

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
    projects_from_spec: bool = True
    creation_problem: str | None = None
    engine: str = "local"

    def annotate(self, **values: str) -> World:
        """The same world with these annotations as well."""
        new = {PREFIX + name.replace("_", "-"): value for name, value in values.items()}
        return replace(self, annotations=self.annotations | new)

    def replace(self, **facts: Any) -> World:
        """The same world with other facts; those of the run begin with `run_`."""
        run = {name.removeprefix("run_"): facts.pop(name) for name in list(facts) if name.startswith("run_")}
        if run:
            assert self.run is not None
            facts["run"] = replace(self.run, **run)
        return replace(self, **facts)

    def resource(self) -> ProjectSetupResource:
        """The resource as the API server would return it."""
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
        """The facts."""
        return Facts(
            resource=self.resource(),
            now=self.now,
            run=self.run,
            record=self.record or RecordRead(self.project, exists=self.project is not None),
            projects_from_spec=self.projects_from_spec,
            creation_problem=self.creation_problem,
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
        """The decision."""
        return decide(self.facts())

    def written(self, status: ProjectSetupStatus) -> World:
        """The same world with this status written."""
        return replace(self, status=status_to_dict(status))


Change = Callable[[World], World]


def expect(
    decision: d.Decision,
    kind: type[Any],
    *,
    succeeded: tuple[str, Reason] | None = None,
    message: str | None = None,
    events: list[str] | None = None,
    **fields: Any,
) -> Any:
    """Assert the kind of the decision and its condition, events, fields and status; returns it."""
    assert isinstance(decision, kind), decision
    decided: Any = decision
    if succeeded is not None:
        assert succeeded_reason(decided.status) == succeeded
    if message is not None:
        assert decided.status.conditions[0].message == message
    if events is not None:
        assert reasons(decided) == events
    for name, value in fields.items():
        assert getattr(decided if hasattr(decided, name) else decided.status, name) == value, name
    return decided


def succeeded_reason(status: ProjectSetupStatus) -> tuple[str, str]:
    """Status and reason of the `Succeeded` condition."""
    condition = next(c for c in status.conditions if c.type == "Succeeded")
    return condition.status, condition.reason


def reasons(decision: Any) -> list[str]:
    """The reasons of its events."""
    return [str(event.reason) for event in decision.events]


def project(
    status: str = "created",
    owner: Owner | None = None,
    *,
    attempt: int = 0,
    fence: int = 0,
    result: dict[str, Any] | None = None,
    namespace: str | None = None,
) -> Project:
    """A project in this state."""
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
        namespace=namespace,
    )


def running(attempt: int = 1, **annotations: str) -> World:
    """Attempt number `attempt` runs in this operator."""
    world = World(project=project("created"), slot=True).annotate(**annotations)
    world.status = {"attempt": attempt - 1} if attempt > 1 else {}
    world = world.written(expect(world.decide(), d.StartAttempt).status)
    run = RunView(UID, attempt, 5, Progress("initializing", "generate", 0, 7))
    return world.replace(project=project("initializing", US, attempt=attempt, fence=5), run=run)


def ended(world: World, outcome: RunOutcome) -> Any:
    """The decision once the attempt has ended."""
    return expect(world.replace(run_outcome=outcome).decide(), d.RecordEnd)


def finished(outcome: RunOutcome = FAILED) -> World:
    """The setup has ended with its first attempt."""
    return running().written(ended(running(), outcome).status).replace(run=None)


def backing_off() -> World:
    """The first attempt broke; the second is not due yet."""
    broken = InfrastructureError(Reason.STEP_TRANSIENT, "reset", step="push", exit_code=75)
    world = running().written(ended(running(), broken).status)
    return world.replace(run=None, slot=False, project=project("setup_queued", US, attempt=1, fence=6))


def awaiting() -> World:
    """The setup has waited for a Secret since NOW."""
    world = World(project=project(), missing=MISSING, slot=True)
    return world.written(expect(world.decide(), d.AwaitDependency).status)


def left_running(engine: str = "job") -> World:
    """Another operator started attempt 2 on the engine `job` and died."""
    world = World(project=project("setup_queued", US, attempt=1, fence=8), slot=True, engine="job")
    world.status = {"attempt": 1}
    world = world.written(expect(world.decide(), d.StartAttempt).status)
    return world.replace(project=project("compiling", US, attempt=2, fence=9), slot=False, engine=engine)
