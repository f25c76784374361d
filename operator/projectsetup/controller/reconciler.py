"""Reads the facts about one ProjectSetup, decides, and carries the decision out; `.status` is written last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from projectsetup.api.models import ProjectSetupResource, ProjectSetupStatus, essence, parse_resource
from projectsetup.api.spec import ProjectFields
from projectsetup.controller.cache import Change, Deleted, ResourceCache, pack
from projectsetup.controller.database_health import DatabaseHealth
from projectsetup.controller.decisions import (
    Action,
    AdoptAttempt,
    AnnounceStart,
    AwaitDependency,
    CreateProject,
    Decision,
    RecordEnd,
    ReleaseOwner,
    Requeue,
    StartAttempt,
    StartPrepared,
    StepDown,
    StopRun,
    WaitForSlot,
    WriteStatus,
)
from projectsetup.controller.events import Event, started
from projectsetup.controller.facts import ANNOUNCED_AFTER, Facts, Origin, RecipePlan, RecordRead
from projectsetup.controller.facts_reader import FactsReader, Inputs
from projectsetup.controller.history import origin_of, past_attempt
from projectsetup.controller.lifecycle import decide
from projectsetup.controller.metrics import ready_since
from projectsetup.controller.outcome import AttemptEnd, EndKind, StopCause
from projectsetup.controller.ports import Body, Cluster
from projectsetup.controller.runs import Runs
from projectsetup.controller.slots import Slots
from projectsetup.controller.status_writer import StatusWriter
from projectsetup.controller.traces import SeriesEnd, Traces
from projectsetup.controller.workqueue import Key, WorkQueue
from projectsetup.engines.base import Adoption, AttemptSpec
from projectsetup.kube.errors import ApiConflict, ApiForbidden, ApiNotFound, ClusterError
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.observe.logs import about_setup, get_logger
from projectsetup.observe.metrics import Metrics
from projectsetup.projects.errors import AlreadyTaken, ClaimRefused, DatabaseUnavailable, InvalidProject
from projectsetup.projects.history import PastAttempt
from projectsetup.projects.model import Owner, Project, ProjectStatus
from projectsetup.projects.record import ProjectRecord
from projectsetup.setup.types import Progress, SetupProject

PREDECESSOR_POLL = 0.5
"""Seconds between two looks at a resource whose project still has an attempt of a deleted predecessor."""
MAX_PASSES = 8
"""How many decisions are carried out for one key before other keys get their turn."""

_log = get_logger("reconciler")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An attempt to start once `.status` is known to report it; with an `obstacle` it breaks at once."""

    attempt: AttemptSpec
    plan: RecipePlan
    origin: Origin
    obstacle: str | None


@dataclass(slots=True)
class Reconciler:
    """Carries out one decision after another for a key, until there is nothing to do now."""

    cache: ResourceCache
    facts: FactsReader
    cluster: Cluster
    record: ProjectRecord
    database: DatabaseHealth
    runs: Runs
    slots: Slots
    queue: WorkQueue
    leader: Leader
    metrics: Metrics
    writer: StatusWriter
    traces: Traces
    on_deleted: Callable[[Deleted], None]
    _progress_writes: dict[str, datetime] = field(default_factory=dict)
    _prepared: dict[str, _Prepared] = field(default_factory=dict)
    """By the uid of the resource."""

    async def reconcile(self, key: Key) -> None:
        """Do all that can be done for `key` now.

        Raises ClusterError if the key must be reconciled again later, and LeaseLost if this operator must exit.
        """
        owner_is_active, creation_problem = False, None
        self.facts.dependencies.forget(key)
        for _ in range(MAX_PASSES):
            resource = await self._read(key)
            if resource is None or resource.deleting:
                self._abandon(key, resource)
                return
            if self._has_deleted_predecessor(resource):
                self.queue.add(key, delay=PREDECESSOR_POLL)
                return
            facts, inputs = await self.facts.read(
                resource,
                last_progress_write=self._progress_writes.get(resource.uid),
                prepared_fence=self._prepared_fence(resource),
                owner_is_active=owner_is_active,
                creation_problem=creation_problem,
            )
            decision = decide(facts)
            _log.debug("decided", decision=type(decision).__name__)
            try:
                if isinstance(decision, ReleaseOwner):
                    owner_is_active = await self._release_owner(facts, decision.owner)
                elif isinstance(decision, CreateProject):
                    creation_problem = await self._create_project(facts, decision.project)
                elif not await self._carry_out(facts, inputs, decision):
                    self._release_idle_slot(resource, decision)
                    return
            except ApiConflict:
                await self._refetch(key)
            except ApiNotFound:
                self._note_deletion(self.cache.remove(resource.key, uid=resource.uid))
            except DatabaseUnavailable as error:
                self.database.mark_down(str(error))
        self.queue.add(key, delay=0.1)

    async def record_end(self, key: Key) -> None:
        """Write how the attempt of `key` ended to the record only; the next leader completes `.status` from it."""
        try:
            resource = await self._read(key)
        except ClusterError as error:
            _log.warning("cannot read the ProjectSetup; the end of its attempt is not recorded", error=str(error))
            return
        if resource is None or self.runs.view(resource.project_id, resource.uid) is None:
            return
        facts, _ = await self.facts.read(resource, last_progress_write=None, prepared_fence=None, owner_is_active=False)
        decision = decide(facts)
        if isinstance(decision, RecordEnd):
            with about_setup(key):
                await self._finish(facts, decision)

    async def _read(self, key: Key) -> ProjectSetupResource | None:
        """The resource as last seen, or as it is now if it was too large for the cache; None if it is gone."""
        resource = self.cache.get(key)
        if resource is not None or self.cache.uid(key) is None:
            return resource
        body = await self._refetch(key)
        return None if body is None else parse_resource(essence(body))

    async def _refetch(self, key: Key) -> Body | None:
        body = await self.cluster.find(*key)
        if body is not None:
            self._note_deletion(self.cache.apply(pack(body)))
        elif (uid := self.cache.uid(key)) is not None:
            self._note_deletion(self.cache.remove(key, uid=uid))
        return body

    def _note_deletion(self, change: Change | None) -> None:
        if change is not None and change.deleted is not None:
            self.on_deleted(change.deleted)

    def _abandon(self, key: Key, resource: ProjectSetupResource | None) -> None:
        """Stop what is deleted or being deleted; it keeps its slot until nothing of it runs."""
        if resource is not None and self.runs.view(resource.project_id, resource.uid) is not None:
            self.runs.stop(resource.project_id, StopCause.DELETED)
        if not self.runs.is_busy(key) or self.runs.lingers(key):
            self.slots.release(key)
            self.facts.claimed.forget(key)

    def _has_deleted_predecessor(self, resource: ProjectSetupResource) -> bool:
        """Whether an attempt for the same project is still ending whose ProjectSetup was deleted."""
        run = self.runs.view(resource.project_id)
        return run is not None and run.uid != resource.uid and not self.cache.has_uid(run.uid)

    async def _carry_out(self, facts: Facts, inputs: Inputs, action: Action) -> bool:  # noqa: C901  # a case an action
        """Carry it out; True if there may be more to do at once."""
        resource, again = facts.resource, False
        match action:
            case Requeue():
                self._requeue(resource.key, action.until, facts.now)
            case WriteStatus():
                await self._write(resource, action.status, action.events)
                self._requeue(resource.key, action.until, facts.now)
            case AwaitDependency():
                await self._await_dependency(facts, inputs, action)
            case WaitForSlot():
                again = await self._wait_for_slot(facts, action)
            case StartAttempt():
                again = await self._start(facts, inputs, action)
            case StartPrepared():
                self._begin(resource, resource.status)
                again = True
            case AnnounceStart():
                self.runs.announced(resource.project_id)
                await self.writer.post(resource, resource.status, action.events)
                again = True
            case AdoptAttempt():
                await self._adopt(facts, action)
                again = True
            case StopRun():
                self.runs.stop(resource.project_id, action.cause)
            case RecordEnd():
                again = await self._end(facts, action)
            case StepDown():
                raise LeaseLost(action.message)
        return again

    async def _await_dependency(self, facts: Facts, inputs: Inputs, action: AwaitDependency) -> None:
        resource = facts.resource
        if action.status != resource.status:
            await self._write(resource, action.status, action.events)
        if inputs.missing is not None:
            self.facts.dependencies.wait(resource.key, inputs.missing)
        self._requeue(resource.key, action.until, facts.now)

    async def _wait_for_slot(self, facts: Facts, action: WaitForSlot) -> bool:
        resource = facts.resource
        rank = resource.rank._replace(queued_at=action.status.queued_at or facts.now)
        self.slots.enqueue(resource.key, rank, resource.recipe, since=ready_since(resource, facts.now))
        for key in self.slots.grant():
            if key == resource.key:
                self._remember(facts)
                return True
            self.queue.add(key)
        if action.status != resource.status:
            if await self._claim(facts, number=resource.status.attempt, status=ProjectStatus.SETUP_QUEUED) is None:
                return True
            await self._write(resource, action.status, action.events)
        return False

    def _remember(self, facts: Facts) -> None:
        """Save reading the project again for the next decision, which starts with a claim under the fence as read."""
        if isinstance(facts.record, RecordRead) and facts.record.project is not None:
            self.facts.claimed.claimed(facts.resource.key, facts.resource.uid, facts.record.project)

    async def _start(self, facts: Facts, inputs: Inputs, action: StartAttempt) -> bool:
        resource = facts.resource
        run = action.status.run_ref
        if inputs.recipe is None or resource.spec is None or run is None:
            raise AssertionError("cannot start an attempt without a recipe")
        origin = origin_of(resource, action.status, inputs.recipe.digest)
        with self.runs.preparing(resource.key):
            project = await self._claim(facts, number=action.number, status=ProjectStatus(action.project_status))
            if project is None:
                return True
            attempt = AttemptSpec(
                namespace=resource.namespace,
                name=resource.name,
                uid=resource.uid,
                project=_setup_project(project),
                recipe=inputs.recipe,
                parameters=inputs.parameters,
                number=action.number,
                fence=project.fence,
                run_name=run.name,
                timeout=resource.spec.timeout.total_seconds(),
                credentials=inputs.credentials,
                credentials_secret=resource.credentials_secret,
                traceparents=self.traces.traceparents(origin, inputs.recipe),
            )
            self._prepared[resource.uid] = _Prepared(attempt, facts.recipe, origin, inputs.obstacle)
            await self._write_status(resource, action.status, action.events)
            self._begin(resource, action.status)
        await self.writer.post(resource, action.status, action.events)
        return False

    def _begin(self, resource: ProjectSetupResource, status: ProjectSetupStatus) -> None:
        """Start the prepared attempt, which `status` reports as stored."""
        self.leader.check()
        prepared, now = self._prepared.pop(resource.uid), datetime.now(UTC)
        plan, announce_at = prepared.plan, now + ANNOUNCED_AFTER
        self.runs.start(
            prepared.attempt,
            Progress(plan.first_status, plan.first_step, 0, plan.total),
            origin=prepared.origin,
            obstacle=prepared.obstacle,
            announce_at=announce_at,
        )
        self.writer.log(resource, status, started(status))
        self._requeue(resource.key, announce_at, now)
        since = self.slots.ready_since(resource.key)
        self.metrics.attempt_started(None if since is None else (now - since).total_seconds())

    async def _adopt(self, facts: Facts, action: AdoptAttempt) -> None:
        """Follow a run that another operator left; it gets a slot even if none is free."""
        resource = facts.resource
        status = ProjectStatus(action.progress.project_status)
        credentials = await self.facts.credentials_of_run(resource)
        project = await self._claim(facts, number=action.number, status=status)
        if project is None:
            return
        self.slots.acquire(resource.key, resource.recipe)
        self.leader.check()
        adoption = Adoption(
            namespace=resource.namespace,
            name=resource.name,
            uid=resource.uid,
            project_id=resource.project_id,
            number=action.number,
            fence=project.fence,
            run_name=action.run.name,
            digest=action.run.id,
            credentials=credentials,
            credentials_secret=resource.credentials_secret,
        )
        origin = origin_of(resource, resource.status, self.facts.recipe_digest(resource))
        self.runs.start(adoption, action.progress, origin=origin)
        with about_setup(resource.key, attempt=action.number, step=action.progress.step):
            _log.info("adopted a run that another operator left", run=action.run.name)

    async def _end(self, facts: Facts, action: RecordEnd) -> bool:
        resource, end = facts.resource, action.end
        if not await self._finish(facts, action):
            return True
        await self._write_status(resource, action.status, action.events)
        self.slots.release(resource.key)
        for key in self.slots.grant():
            self.queue.add(key)
        self._requeue(resource.key, end.next_attempt_at, facts.now)
        await self.writer.post(resource, action.status, action.events)
        return end.kind is EndKind.RELEASED

    async def _finish(self, facts: Facts, action: RecordEnd) -> bool:
        """Write the end to the record; False if the record has changed, so that the facts must be read again."""
        resource, end, fence = facts.resource, action.end, action.fence
        if fence is None:
            project = await self._claim(facts, number=end.attempt, status=ProjectStatus.SETUP_QUEUED)
            if project is None:
                return False
            fence = project.fence
        self.leader.check()
        self.facts.claimed.forget(resource.key)
        past = self._past_attempt(facts, end)
        finished = await self.record.finish(
            resource.project_id,
            fence,
            status=end.project_status,
            setup_error=end.setup_error,
            result=end.to_result(),
            attempt=end.attempts_used,
            history=past,
        )
        if finished:
            self.traces.ended(
                SeriesEnd(
                    key=resource.key,
                    uid=resource.uid,
                    queued_at=resource.queued_at,
                    recipe=resource.recipe,
                    engine=facts.engine,
                    end=end,
                    past=past,
                )
            )
        return finished

    def _past_attempt(self, facts: Facts, end: AttemptEnd) -> PastAttempt | None:
        """The attempt that ended; None if none was running."""
        resource, run = facts.resource, facts.run
        if resource.status.run_ref is None:
            return None
        origin = run.origin if run is not None else None
        if origin is None:
            origin = origin_of(resource, resource.status, self.facts.recipe_digest(resource))
        return past_attempt(end, origin, run.steps if run is not None else (), facts.engine)

    async def _claim(self, facts: Facts, *, number: int, status: ProjectStatus) -> Project | None:
        """Claim the project; None if the record has changed, so that the facts must be read again."""
        resource = facts.resource
        self.leader.check()
        owner = Owner(resource.uid, resource.namespace, resource.name)
        self.facts.claimed.forget(resource.key)
        try:
            project = await self.record.claim(
                resource.project_id, owner, attempt=number, status=status, seen=_fence(facts)
            )
        except ClaimRefused as refused:
            _log.info("claim refused", why=str(refused))
            return None
        self.facts.claimed.claimed(resource.key, resource.uid, project)
        return project if _repositories_unchanged(facts, project) else None

    async def _create_project(self, facts: Facts, project: ProjectFields) -> str | None:
        """Create the project of `spec.project`, and say why if it cannot be created."""
        resource = facts.resource
        self.leader.check()
        try:
            await self.record.create(
                name=project.name,
                code_repo=project.code_repo,
                docs_repo=project.docs_repo,
                description=project.description or "",
                project_id=resource.project_id,
                namespace=resource.namespace,
                allow_file_repos=self.facts.allow_file_repos,
                git_hosts=self.facts.git_hosts,
            )
        except AlreadyTaken as taken:
            is_neighbour = taken.holder is not None and taken.holder.namespace == resource.namespace
            return taken.naming_holder() if is_neighbour else str(taken)
        except InvalidProject as error:
            return str(error)
        _log.info("created the project of spec.project", name=project.name)
        return None

    async def _release_owner(self, facts: Facts, owner: Owner) -> bool:
        """Release the owner's claim if its setup has ended; True if the owner is active, or hidden from us."""
        try:
            body = await self.cluster.find(owner.namespace, owner.name)
        except ApiForbidden:
            return True
        if body is not None and body["metadata"]["uid"] == owner.uid and not parse_resource(body).is_over:
            return True
        project_id = facts.resource.project_id
        if self.runs.view(project_id, owner.uid) is not None:  # the owner is gone, but its attempt must end first
            await self._refetch((owner.namespace, owner.name))
            return False
        self.leader.check()
        await self.record.release(project_id, owner.uid, seen=_fence(facts))
        return False

    async def _write(
        self, resource: ProjectSetupResource, status: ProjectSetupStatus, events: tuple[Event, ...]
    ) -> None:
        await self._write_status(resource, status, events)
        await self.writer.post(resource, status, events)

    async def _write_status(
        self, resource: ProjectSetupResource, status: ProjectSetupStatus, events: tuple[Event, ...]
    ) -> None:
        """Write `.status`; the events, which are still to be posted, are logged and counted with it."""
        if await self.writer.write(resource, status, events):
            self._progress_writes[resource.uid] = datetime.now(UTC)
        if status.run_ref is None:
            self._progress_writes.pop(resource.uid, None)
            self._prepared.pop(resource.uid, None)
            self.runs.forget(resource.project_id, resource.uid)
        self.writer.log(resource, status, *events)

    def _prepared_fence(self, resource: ProjectSetupResource) -> int | None:
        prepared = self._prepared.get(resource.uid)
        if prepared is None or prepared.attempt.number != resource.status.attempt:
            return None
        return prepared.attempt.fence

    def _release_idle_slot(self, resource: ProjectSetupResource, decision: Decision) -> None:
        """Release the slot unless the resource waits for one, or its attempt runs and does not only linger."""
        runs = self.runs.is_busy(resource.key) and not self.runs.lingers(resource.key)
        if not (runs or isinstance(decision, WaitForSlot) or resource.uid in self._prepared):
            self.slots.release(resource.key)

    def _requeue(self, key: Key, until: datetime | None, now: datetime) -> None:
        if until is not None:
            self.queue.add(key, delay=(until - now).total_seconds())


def _setup_project(project: Project) -> SetupProject:
    return SetupProject(
        id=project.id,
        name=project.name,
        slug=project.slug,
        description=project.description,
        code_repo=project.code_repo,
        docs_repo=project.docs_repo,
    )


def _repositories_unchanged(facts: Facts, project: Project) -> bool:
    """Whether the project has the repositories that were checked: they may have been corrected while it waited."""
    read = facts.record.project if isinstance(facts.record, RecordRead) else None
    return read is None or (read.code_repo, read.docs_repo) == (project.code_repo, project.docs_repo)


def _fence(facts: Facts) -> int | None:
    """The fence of the project as it was read."""
    project = facts.record.project if isinstance(facts.record, RecordRead) else None
    return None if project is None else project.fence
