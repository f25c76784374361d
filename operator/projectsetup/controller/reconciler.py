"""Reads the facts about one ProjectSetup, decides, and carries the decision out; `.status` is written last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from projectsetup.api.models import (
    ProjectSetupResource,
    ProjectSetupStatus,
    essence,
    parse_resource,
    status_to_dict,
    stored_status,
)
from projectsetup.controller.attempt_end import EndKind
from projectsetup.controller.attempts import Attempts
from projectsetup.controller.database_gate import DatabaseGate
from projectsetup.controller.decisions import (
    AdoptAttempt,
    AwaitDependency,
    BeginAttempt,
    Decision,
    Notice,
    RecordEnd,
    ReleaseOwner,
    Rest,
    StandInLine,
    StartAttempt,
    StepDown,
    StopRun,
    WriteStatus,
)
from projectsetup.controller.facts import Facts, RecipePlan, RecordRead, StopCause
from projectsetup.controller.facts_reader import FactsReader, Inputs
from projectsetup.controller.lifecycle import decide
from projectsetup.controller.ports import Body, Cluster
from projectsetup.controller.queue import Key, StartLine, WorkQueue
from projectsetup.controller.store import Departed, ResourceStore, pack
from projectsetup.controller.telemetry import count, waits_since
from projectsetup.engines.base import Adoption, AttemptSpec
from projectsetup.kube.errors import ApiConflict, ApiForbidden, ApiNotFound, ClusterError
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.observe.logs import about_setup, get_logger
from projectsetup.observe.metrics import Metrics
from projectsetup.projects.errors import ClaimRefused, DatabaseUnavailable
from projectsetup.projects.model import Owner, Project, ProjectStatus
from projectsetup.projects.record import ProjectRecord
from projectsetup.setup.project import SetupProject
from projectsetup.setup.updates import Progress

PREDECESSOR_POLL = 0.5
"""Seconds until a resource is looked at again whose project's attempt belongs to a deleted one."""
LOOKS = 8
"""How often one key is looked at again before others get their turn."""

_log = get_logger("reconciler")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An attempt to start once `.status` is known to report it; with an `obstacle` it breaks at once."""

    attempt: AttemptSpec
    plan: RecipePlan
    obstacle: str | None


@dataclass(slots=True)
class Reconciler:
    """Carries out one decision after the other for a key, until there is nothing to do now."""

    store: ResourceStore
    facts: FactsReader
    cluster: Cluster
    record: ProjectRecord
    gate: DatabaseGate
    attempts: Attempts
    line: StartLine
    queue: WorkQueue
    leader: Leader
    metrics: Metrics
    scrub: Callable[[str], str]
    on_departed: Callable[[Departed], None]
    _progress_writes: dict[str, datetime] = field(default_factory=dict)
    _prepared: dict[str, _Prepared] = field(default_factory=dict)
    """What to start once it is known that `.status` tells so, by the uid of the resource."""

    async def reconcile(self, key: Key) -> None:
        """Look at `key` until nothing is left to do for it now. ClusterError: look again later. LeaseLost: end."""
        owner_is_active = False
        self.facts.dependencies.forget(key)
        for _ in range(LOOKS):
            resource = await self._read(key)
            if resource is None or resource.deleting:
                self._give_up(key, resource)
                return
            if self._follows_a_deleted_one(resource):
                self.queue.add(key, delay=PREDECESSOR_POLL)
                return
            facts, inputs = await self.facts.read(
                resource,
                last_progress_write=self._progress_writes.get(resource.uid),
                prepared_fence=self._prepared_fence(resource),
                owner_is_active=owner_is_active,
            )
            decision = decide(facts)
            _log.debug("decided", decision=type(decision).__name__)
            try:
                if isinstance(decision, ReleaseOwner):
                    owner_is_active = await self._release_owner(facts, decision.owner)
                elif not await self._carry_out(facts, inputs, decision):
                    self._settle(resource, decision)
                    return
            except ApiConflict:
                await self._look_anew(key)
            except ApiNotFound:
                self._departed(resource.key, resource.uid)
            except DatabaseUnavailable as error:
                self.gate.shut(str(error))
        self.queue.add(key, delay=0.1)

    async def _read(self, key: Key) -> ProjectSetupResource | None:
        """The resource as last seen, or as it is now where it was too large to be kept; None when it is gone."""
        resource = self.store.get(key)
        if resource is not None or self.store.uid(key) is None:
            return resource
        body = await self._look_anew(key)
        return None if body is None else parse_resource(essence(body))

    def _give_up(self, key: Key, resource: ProjectSetupResource | None) -> None:
        """What is deleted, or is being deleted, holds its slot until nothing of it runs."""
        if resource is not None and self.attempts.view(resource.project_id, resource.uid) is not None:
            self.attempts.stop(resource.project_id, StopCause.DELETED)
        if not self.attempts.busy(key) or self.attempts.lingers(key):
            self.line.leave(key)
            self.facts.known.forget(key)

    def _follows_a_deleted_one(self, resource: ProjectSetupResource) -> bool:
        """Whether an attempt for the same project is ending whose ProjectSetup is no more."""
        run = self.attempts.view(resource.project_id)
        return run is not None and run.uid != resource.uid and not self.store.holds(run.uid)

    async def _carry_out(self, facts: Facts, inputs: Inputs, decision: Decision) -> bool:
        """Do it; True when there may be more to do at once."""
        resource = facts.resource
        match decision:
            case Rest() | WriteStatus():
                if isinstance(decision, WriteStatus):
                    await self._write(resource, decision.status, decision.notices)
                self._come_back(resource.key, decision.until, facts.now)
                return False
            case AwaitDependency():
                return await self._await_dependency(facts, inputs, decision)
            case StandInLine() | StartAttempt() | BeginAttempt() | AdoptAttempt():
                return await self._go_on(facts, inputs, decision)
            case StopRun():
                self.attempts.stop(resource.project_id, decision.cause)
                return False
            case RecordEnd():
                return await self._record_end(facts, decision)
            case StepDown():
                raise LeaseLost(decision.message)
            case ReleaseOwner():
                raise AssertionError("handled by the caller")

    async def _go_on(
        self, facts: Facts, inputs: Inputs, decision: StandInLine | StartAttempt | BeginAttempt | AdoptAttempt
    ) -> bool:
        match decision:
            case StandInLine():
                return await self._stand_in_line(facts, decision)
            case StartAttempt():
                return await self._start(facts, inputs, decision)
            case AdoptAttempt():
                return await self._adopt(facts, decision)
            case BeginAttempt():
                self._begin(self._prepared[facts.resource.uid])
                await self._notify(facts.resource, facts.resource.status, decision.notices)
                return True

    async def _await_dependency(self, facts: Facts, inputs: Inputs, decision: AwaitDependency) -> bool:
        resource = facts.resource
        if decision.status != resource.status:
            await self._write(resource, decision.status, decision.notices)
        if inputs.missing is not None:
            self.facts.dependencies.wait(resource.key, inputs.missing)
        self._come_back(resource.key, decision.until, facts.now)
        return False

    async def _stand_in_line(self, facts: Facts, decision: StandInLine) -> bool:
        resource = facts.resource
        rank = resource.rank._replace(queued_at=decision.status.queued_at or facts.now)
        self.line.join(resource.key, rank, since=waits_since(resource, facts.now))
        for key in self.line.give_slots():
            if key == resource.key:
                return True
            self.queue.add(key)
        if decision.status != resource.status:
            if await self._claim(facts, number=resource.status.attempt, status=ProjectStatus.SETUP_QUEUED) is None:
                return True
            await self._write(resource, decision.status, decision.notices)
        return False

    async def _start(self, facts: Facts, inputs: Inputs, decision: StartAttempt) -> bool:
        resource = facts.resource
        run = decision.status.run_ref
        if inputs.recipe is None or resource.spec is None or run is None:
            raise AssertionError("an attempt was decided without a recipe")
        secret = resource.spec.credentials_secret_ref
        with self.attempts.preparing(resource.key):
            status = ProjectStatus(decision.project_status)
            project = await self._claim(facts, number=decision.number, status=status)
            if project is None:
                return True
            attempt = AttemptSpec(
                namespace=resource.namespace,
                name=resource.name,
                uid=resource.uid,
                project=_setup_project(project),
                recipe=inputs.recipe,
                parameters=inputs.parameters,
                number=decision.number,
                fence=project.fence,
                run_name=run.name,
                timeout=resource.spec.timeout.total_seconds(),
                credentials=inputs.credentials,
                credentials_secret=secret.name if secret is not None else None,
            )
            prepared = self._prepared[resource.uid] = _Prepared(attempt, facts.recipe, inputs.obstacle)
            await self._write(resource, decision.status, ())
            self._begin(prepared)
        await self._notify(resource, decision.status, decision.notices)
        return False

    async def _adopt(self, facts: Facts, decision: AdoptAttempt) -> bool:
        """Follow what another operator has left running; it holds a slot, even one more than there are."""
        resource = facts.resource
        status = ProjectStatus(decision.progress.project_status)
        project = await self._claim(facts, number=decision.number, status=status)
        if project is not None:
            self.line.take(resource.key)
            self.leader.check()
            self.attempts.start(
                Adoption(
                    namespace=resource.namespace,
                    name=resource.name,
                    uid=resource.uid,
                    project_id=resource.project_id,
                    number=decision.number,
                    fence=project.fence,
                    run_name=decision.run.name,
                    digest=decision.run.id,
                ),
                decision.progress,
            )
            with about_setup(resource.key, attempt=decision.number, step=decision.progress.step):
                _log.info("follows what another operator has left running", run=decision.run.name)
        return True

    def _begin(self, prepared: _Prepared) -> None:
        attempt, plan = prepared.attempt, prepared.plan
        self.leader.check()
        self._prepared.pop(attempt.uid, None)
        progress = Progress(plan.first_status, plan.first_step, 0, plan.total)
        self.attempts.start(attempt, progress, obstacle=prepared.obstacle)
        since = self.line.waited_since(attempt.key)
        self.metrics.attempt_started(None if since is None else (datetime.now(UTC) - since).total_seconds())

    async def record_alone(self, key: Key) -> None:
        """Tell the record how the attempt of `key` ended; who leads next completes `.status` from it."""
        try:
            resource = await self._read(key)
        except ClusterError as error:
            _log.warning("cannot read what ended, so the record does not say so", error=str(error))
            return
        if resource is None or self.attempts.view(resource.project_id, resource.uid) is None:
            return
        facts, _ = await self.facts.read(resource, last_progress_write=None, prepared_fence=None, owner_is_active=False)
        decision = decide(facts)
        if isinstance(decision, RecordEnd):
            with about_setup(key):
                await self._finish(facts, decision)

    async def _record_end(self, facts: Facts, decision: RecordEnd) -> bool:
        resource, end = facts.resource, decision.end
        if not await self._finish(facts, decision):
            return True
        await self._write(resource, decision.status, decision.notices)
        self.line.leave(resource.key)
        self._come_back(resource.key, end.next_attempt_at, facts.now)
        return end.kind is EndKind.RETURNED

    async def _finish(self, facts: Facts, decision: RecordEnd) -> bool:
        """Write the end to the record; False when it has changed meanwhile, so that the facts must be read again."""
        resource, end, fence = facts.resource, decision.end, decision.fence
        if fence is None:
            project = await self._claim(facts, number=end.attempt, status=ProjectStatus.SETUP_QUEUED)
            if project is None:
                return False
            fence = project.fence
        self.leader.check()
        self.facts.known.forget(resource.key)
        return await self.record.finish(
            resource.project_id,
            fence,
            status=end.project_status,
            setup_error=end.setup_error,
            result=end.to_result(),
            attempt=end.attempts_left_used,
        )

    async def _claim(self, facts: Facts, *, number: int, status: ProjectStatus) -> Project | None:
        """Claim the project; None when somebody has changed it meanwhile, so that the facts must be read again."""
        resource = facts.resource
        self.leader.check()
        owner = Owner(resource.uid, resource.namespace, resource.name)
        self.facts.known.forget(resource.key)
        try:
            project = await self.record.claim(
                resource.project_id, owner, attempt=number, status=status, seen=_fence(facts)
            )
        except ClaimRefused as refused:
            _log.info("the claim was refused", why=str(refused))
            return None
        self.facts.known.claimed(resource.key, resource.uid, project)
        return project if _as_read(facts, project) else None

    async def _release_owner(self, facts: Facts, owner: Owner) -> bool:
        """Whether the owner is there, or hidden from us, and its setup not over; else the project is freed of it."""
        try:
            body = await self.cluster.get_resource(owner.namespace, owner.name)
        except ApiForbidden:
            return True
        if body is not None and body["metadata"]["uid"] == owner.uid and not parse_resource(body).is_over:
            return True
        project_id = facts.resource.project_id
        if self.attempts.view(project_id, owner.uid) is not None:
            # it is gone, and its attempt has to end first
            await self._look_anew((owner.namespace, owner.name))
            return False
        self.leader.check()
        await self.record.release(project_id, owner.uid, seen=_fence(facts))
        return False

    async def _write(
        self, resource: ProjectSetupResource, status: ProjectSetupStatus, notices: tuple[Notice, ...]
    ) -> None:
        told = self._scrubbed(status_to_dict(status))
        if told != stored_status(resource.status):
            self.leader.check()
            stored = await self.cluster.replace_status(
                resource.namespace, resource.name, resource_version=resource.resource_version, status=told
            )
            self.store.apply(pack(stored))
            count(self.metrics, resource.status, status, notices)
            self._progress_writes[resource.uid] = datetime.now(UTC)
        if status.run_ref is None:
            self._progress_writes.pop(resource.uid, None)
            self._prepared.pop(resource.uid, None)
            self.attempts.forget(resource.project_id, resource.uid)
        await self._notify(resource, status, notices)

    def _scrubbed(self, value: Any) -> Any:
        """`value` with every message in it scrubbed; all else is ours, or has to stay what the user wrote."""
        if isinstance(value, list):
            return [self._scrubbed(part) for part in value]
        if not isinstance(value, dict):
            return value
        return {name: self.scrub(part) if name == "message" else self._scrubbed(part) for name, part in value.items()}

    async def _notify(
        self, resource: ProjectSetupResource, status: ProjectSetupStatus, notices: tuple[Notice, ...]
    ) -> None:
        for notice in notices:
            with about_setup(resource.key, attempt=status.attempt, step=status.step):
                await self._tell(resource, notice)

    async def _tell(self, resource: ProjectSetupResource, notice: Notice) -> None:
        _log.info(notice.message, reason=str(notice.reason))
        try:
            await self.cluster.post_event(
                namespace=resource.namespace,
                name=resource.name,
                uid=resource.uid,
                reason=str(notice.reason),
                message=self.scrub(notice.message),
                warning=notice.warning,
                reporter=self.leader.identity,
            )
        except ClusterError as error:
            _log.warning("an event was not left", error=str(error))

    def _prepared_fence(self, resource: ProjectSetupResource) -> int | None:
        prepared = self._prepared.get(resource.uid)
        return (
            prepared.attempt.fence
            if prepared is not None and prepared.attempt.number == resource.status.attempt
            else None
        )

    def _settle(self, resource: ProjectSetupResource, decision: Decision) -> None:
        """Give back the slot, or the place in line, of what neither waits for a slot nor runs, or only lingers."""
        runs = self.attempts.busy(resource.key) and not self.attempts.lingers(resource.key)
        if not (runs or isinstance(decision, StandInLine) or resource.uid in self._prepared):
            self.line.leave(resource.key)

    def _come_back(self, key: Key, until: datetime | None, now: datetime) -> None:
        if until is not None:
            self.queue.add(key, delay=(until - now).total_seconds())

    async def _look_anew(self, key: Key) -> Body | None:
        body = await self.cluster.get_resource(*key)
        if body is not None:
            change = self.store.apply(pack(body))
            if change is not None and change.departed is not None:
                self.on_departed(change.departed)
        elif (uid := self.store.uid(key)) is not None:
            self._departed(key, uid)
        return body

    def _departed(self, key: Key, uid: str) -> None:
        change = self.store.remove(key, uid=uid)
        if change is not None and change.departed is not None:
            self.on_departed(change.departed)


def _setup_project(project: Project) -> SetupProject:
    return SetupProject(
        id=project.id,
        name=project.name,
        slug=project.slug,
        description=project.description,
        code_repo=project.code_repo,
        docs_repo=project.docs_repo,
    )


def _as_read(facts: Facts, project: Project) -> bool:
    """Whether the repositories are those that were checked: they may have been corrected while it waited."""
    read = facts.record.project if isinstance(facts.record, RecordRead) else None
    return read is None or (read.code_repo, read.docs_repo) == (project.code_repo, project.docs_repo)


def _fence(facts: Facts) -> int | None:
    """The fence of the project as it was read."""
    project = facts.record.project if isinstance(facts.record, RecordRead) else None
    return None if project is None else project.fence
