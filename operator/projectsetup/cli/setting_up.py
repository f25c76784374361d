"""Carrying out `setup`: mark the project, apply the ProjectSetup, wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.cli.cluster import NoSuchSetup, Setups
from projectsetup.cli.errors import CommandError, ExitCode, explain
from projectsetup.cli.lines import printable
from projectsetup.cli.output import say, write
from projectsetup.cli.record import database_url
from projectsetup.cli.running import cluster, current_namespace
from projectsetup.cli.setup_plan import Plan, Wish, plan_setup
from projectsetup.cli.waiting import ProgressLine, Waiter
from projectsetup.kube.connection import Kubeconfig
from projectsetup.kube.errors import ClusterError
from projectsetup.kube.raw import Body
from projectsetup.projects import ProjectOwned, ProjectRecord


@dataclass(frozen=True, slots=True)
class SetUp:
    """One call of `setup`."""

    project_id: UUID
    namespace: str
    wish: Wish

    @property
    def name(self) -> str:
        """The name of the ProjectSetup."""
        return str(self.project_id)

    async def start(self, setups: Setups, record: ProjectRecord) -> tuple[Body, str]:
        """Mark and apply; the ProjectSetup as it is then, and what was done, in words.

        What the API server would refuse is found out by a dry run, before the project is marked. Should it refuse
        afterwards all the same, the project stays marked: that keeps nobody from setting it up.
        """
        body = await setups.find(self.namespace, self.name)
        resource = parse_resource(body) if body is not None else None
        project = await record.get(self.project_id)
        plan = plan_setup(self.project_id, self.wish, resource, project, datetime.now(UTC), namespace=self.namespace)
        await self._write(setups, plan, body, dry_run=True)
        if plan.mark:
            await self._mark(record, resource)
        try:
            return await self._write(setups, plan, body, dry_run=False), plan.says
        except (ClusterError, CommandError) as error:
            if not plan.mark:
                raise
            text = f"{error}; the project is marked setup_queued, so call setup again"
            raise CommandError(text, explain(error)[0]) from error

    async def _write(self, setups: Setups, plan: Plan, existing: Body | None, *, dry_run: bool) -> Body:
        """An existing ProjectSetup is merged into: applied again, it would lose what an earlier call has set."""
        if existing is not None:
            if not plan.annotations:
                return existing
            try:
                return await setups.annotate(self.namespace, self.name, plan.annotations, dry_run=dry_run)
            except NoSuchSetup:
                existing = None  # deleted since it was read
        return await setups.apply(
            self.namespace, self.name, annotations=plan.annotations, spec=self.wish.spec, dry_run=dry_run
        )

    async def _mark(self, record: ProjectRecord, resource: ProjectSetupResource | None) -> None:
        try:
            await record.queue(self.project_id, self.namespace)
        except ProjectOwned as refused:
            if resource is None or refused.owner.uid != resource.uid:
                raise


async def set_up(
    kubeconfig: Kubeconfig,
    project_id: UUID,
    namespace: str | None,
    wish: Wish,
    *,
    wait: bool,
    limit: timedelta | None,
) -> None:
    """The command `setup`."""
    call = SetUp(project_id, current_namespace(namespace, kubeconfig), wish)
    async with cluster(kubeconfig) as setups:
        async with ProjectRecord.connect(database_url()) as record:
            body, done = await call.start(setups, record)
        line = f"ProjectSetup {call.namespace}/{call.name} {printable(done)}"
        if not wait:
            write(line)
            return
        say(line)
        try:
            with ProgressLine() as progress:
                waiter = Waiter(call.namespace, call.name, body["metadata"]["uid"], progress)
                end = await waiter.wait(setups, limit)
        except asyncio.CancelledError:  # Ctrl-C
            say("not waiting any more; the setup goes on, and projectsetup cancel would end it")
            raise
    if not end.succeeded:
        raise CommandError(f"the setup of project {call.name} is over: {end.message}", ExitCode.FAILED)
    write(f"project {call.name} is ready: {printable(end.message)}")
