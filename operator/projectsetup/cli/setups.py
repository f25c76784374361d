"""What `setup`, `retry` and `cancel` do, and waiting for the end of a setup."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self
from uuid import UUID

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from projectsetup.api.constants import CANCEL_REQUESTED_AT, RETRY_REQUESTED_AT
from projectsetup.api.durations import format_duration
from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.api.reasons import Phase
from projectsetup.cli.errors import CommandError, ExitCode, explain
from projectsetup.cli.names import ProjectRef, find_project_id, find_setup, setup_title, titled
from projectsetup.cli.output import is_terminal, printable, say, write
from projectsetup.cli.status import Ended, ended, live_summary, named, summary
from projectsetup.kube.client import Body
from projectsetup.kube.connection import Kubeconfig
from projectsetup.kube.errors import ClusterError, SetupNotFound
from projectsetup.kube.informer import ObjectKey
from projectsetup.kube.setups import SetupClient

if TYPE_CHECKING:  # `retry` and `cancel` do without the record, which takes long to import
    from projectsetup.projects import Project, ProjectRecord


@dataclass(frozen=True, slots=True)
class SetupRequest:
    """The options of `setup`; None where an option was not given."""

    recipe: str | None = None
    parameters: Mapping[str, str] | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    credentials_secret: str | None = None
    attempt_timeout: timedelta | None = None
    suspend: bool | None = None

    @property
    def spec(self) -> dict[str, object]:
        """The fields of `.spec` that were given."""
        given = {"recipe": self.recipe, "parameters": self.parameters}
        return {name: value for name, value in given.items() if value is not None} | self.mutable_spec

    @property
    def mutable_spec(self) -> dict[str, object]:
        """Those of them that can be changed later."""
        given = {
            "credentialsSecretRef": self.credentials_secret and {"name": self.credentials_secret},
            "timeout": self.attempt_timeout and format_duration(self.attempt_timeout),
            "suspend": self.suspend,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Plan:
    """What `setup` does."""

    mark: bool
    """Whether to mark the project `setup_queued`."""
    annotations: Mapping[str, str]
    """Annotations to set."""
    outcome: str
    """The result in words, with the ProjectSetup as the subject."""


def plan_setup(
    project_id: UUID,
    request: SetupRequest,
    resource: ProjectSetupResource | None,
    project: Project | None,
    now: datetime,
    *,
    namespace: str,
) -> Plan:
    """Decide how to have the project set up by its ProjectSetup in `namespace`, which exists or will be created.

    Raises ClaimRefused if the project's namespace, status or owner does not allow it, CommandError if the
    ProjectSetup does not.
    """
    if resource is None:
        _check_claimable(project_id, namespace, project, None)
        return Plan(mark=True, annotations=request.annotations, outcome="created; project queued")
    _check_unchanged(resource, request)
    is_owner = project is not None and project.owner is not None and project.owner.uid == resource.uid
    if is_owner and not resource.is_over:
        outcome = f"is already in progress: {summary(resource, now)}"
        return Plan(mark=False, annotations=request.annotations, outcome=outcome)
    _check_claimable(project_id, namespace, project, resource.uid)
    if not resource.is_over:
        return Plan(mark=True, annotations=request.annotations, outcome="already exists; project queued")
    if resource.succeeded:
        raise CommandError(
            f"{_title(resource)} has already succeeded; to set the project up again, {_deletion(resource)}"
        )
    retry = {RETRY_REQUESTED_AT: timestamp(now)}
    return Plan(mark=True, annotations={**request.annotations, **retry}, outcome="starts a new series of attempts")


def timestamp(now: datetime) -> str:
    """A value for an annotation that requests something: a new one every time."""
    return now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _check_claimable(project_id: UUID, namespace: str, project: Project | None, uid: str | None) -> None:
    from projectsetup.projects.claims import refusal

    refused = refusal(project_id, project, uid, namespace=namespace)
    if refused is not None:
        raise refused


def _check_unchanged(resource: ProjectSetupResource, request: SetupRequest) -> None:
    """Refuse to change what cannot be changed."""
    if resource.deleting:
        raise CommandError(f"{_title(resource)} is being deleted; try again when it is gone")
    if resource.spec is None:
        return
    if request.recipe is not None and request.recipe != resource.spec.recipe:
        raise CommandError(
            f"{_title(resource)} uses recipe {resource.spec.recipe}, which cannot be changed; "
            f"to use another recipe, {_deletion(resource)}"
        )
    if request.parameters is not None and request.parameters != resource.spec.parameters:
        raise CommandError(
            f"{_title(resource)} has other parameters, which cannot be changed; to use these, {_deletion(resource)}"
        )


def _title(resource: ProjectSetupResource) -> str:
    return f"ProjectSetup {resource.namespace}/{resource.name}"


def _deletion(resource: ProjectSetupResource) -> str:
    return f"delete it first: kubectl delete projectsetup {resource.name} -n {resource.namespace}"


@dataclass(frozen=True, slots=True)
class Started:
    """What a call of `setup` has done."""

    uid: str
    """Of the ProjectSetup."""
    project: str | None
    """The project's name."""
    outcome: str
    """`Plan.outcome`."""


@dataclass(frozen=True, slots=True)
class SetupCall:
    """One call of `setup`."""

    project_id: UUID
    namespace: str
    request: SetupRequest

    @property
    def name(self) -> str:
        """The name of the ProjectSetup."""
        return str(self.project_id)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the ProjectSetup."""
        return self.namespace, self.name

    async def start(self, setups: SetupClient, record: ProjectRecord) -> Started:
        """Mark the project and apply its ProjectSetup.

        A dry run finds out what the API server would refuse before the project is marked. If it refuses after all, the
        project stays marked, which does not keep anyone from setting it up.
        """
        body = await setups.find(self.namespace, self.name)
        resource = parse_resource(body) if body is not None else None
        project = await record.get(self.project_id)
        plan = plan_setup(self.project_id, self.request, resource, project, datetime.now(UTC), namespace=self.namespace)
        await self._write(setups, plan, body, dry_run=True)
        if plan.mark:
            await self._mark(record, resource)
        try:
            applied = await self._write(setups, plan, body, dry_run=False)
        except ClusterError as error:
            if not plan.mark:
                raise
            text = f"{error}; the project is already marked setup_queued, so run setup again"
            raise CommandError(text, explain(error)[0]) from error
        return Started(applied["metadata"]["uid"], project.name if project else None, plan.outcome)

    async def _write(self, setups: SetupClient, plan: Plan, existing: Body | None, *, dry_run: bool) -> Body:
        """Merge into an existing ProjectSetup: applied again, it would lose what an earlier call has set."""
        if existing is not None:
            spec = self.request.mutable_spec
            if not (plan.annotations or spec):
                return existing
            try:
                return await setups.change(self.namespace, self.name, plan.annotations, spec, dry_run=dry_run)
            except SetupNotFound:
                existing = None  # deleted since it was read
        return await setups.apply(
            self.namespace, self.name, annotations=plan.annotations, spec=self.request.spec, dry_run=dry_run
        )

    async def _mark(self, record: ProjectRecord, resource: ProjectSetupResource | None) -> None:
        from projectsetup.projects import ProjectOwned

        try:
            await record.queue(self.project_id, self.namespace)
        except ProjectOwned as refused:
            if resource is None or refused.owner.uid != resource.uid:
                raise


class ProgressLine:
    """The latest progress on standard error: one live line on a terminal, elsewhere a line for each change."""

    def __init__(self) -> None:
        self._draw_line: Callable[[], str] = str
        self._last = ""
        self._spinner = Spinner("dots")
        self._live: Live | None = None
        if is_terminal(sys.stderr):
            console = Console(stderr=True, highlight=False)
            self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, resource: ProjectSetupResource) -> None:
        """Show where the setup is now."""
        self._show(
            named(resource, summary(resource, datetime.now(UTC))),
            lambda: named(resource, live_summary(resource, datetime.now(UTC))),
        )

    def show_outage(self, reason: str) -> None:
        """Show why there is no progress to show."""
        text = f"waiting for the API server ({reason})"
        self._show(text, lambda: text)

    def _show(self, line: str, draw_line: Callable[[], str]) -> None:
        self._draw_line = draw_line
        if line != self._last and not self._live:
            say(printable(line))
        self._last = line

    def _draw(self) -> Spinner:
        """Called by rich's thread, several times a second."""
        self._spinner.update(text=Text(printable(self._draw_line()), no_wrap=True, overflow="ellipsis"))
        return self._spinner


async def wait_for_end(
    setups: SetupClient, key: ObjectKey, uid: str, progress: ProgressLine, limit: timedelta | None
) -> Ended:
    """Wait until the ProjectSetup with this uid has ended; CommandError if it is deleted or the limit is reached."""
    end: Ended | None = None

    def on_change(found: Mapping[ObjectKey, ProjectSetupResource], _changes: object) -> bool:
        nonlocal end
        resource = found.get(key)
        if resource is None or resource.uid != uid:
            return True
        end = ended(resource)
        if end is None:
            progress.show(resource)
        return end is not None

    try:
        async with asyncio.timeout(limit.total_seconds() if limit else None):
            await setups.follow(*key, keep=parse_resource, on_change=on_change, on_outage=progress.show_outage)
    except TimeoutError as exc:
        waited = f" after {format_duration(limit)}" if limit else ""
        raise CommandError(f"timed out{waited}; the setup is still running", ExitCode.FAILED) from exc
    if end is None:
        raise CommandError("ProjectSetup {}/{} was deleted before the setup ended".format(*key), ExitCode.FAILED)
    return end


async def setup(
    kubeconfig: Kubeconfig,
    wanted: ProjectRef,
    namespace: str | None,
    request: SetupRequest,
    *,
    wait: bool,
    limit: timedelta | None,
) -> None:
    """Set a project up; with `wait`, CommandError unless it succeeds within the limit."""
    from projectsetup.projects import ProjectRecord
    from projectsetup.projects.address import DatabaseAddress

    async with SetupClient.connected(kubeconfig) as setups:
        async with ProjectRecord.connect(DatabaseAddress.from_environment()) as record:
            project_id = await find_project_id(record, wanted)
            call = SetupCall(project_id, kubeconfig.namespace(namespace), request)
            started = await call.start(setups, record)
        line = f"{setup_title(*call.key, started.project)} {printable(started.outcome)}"
        if not wait:
            write(line)
            return
        say(line)
        try:
            with ProgressLine() as progress:
                end = await wait_for_end(setups, call.key, started.uid, progress, limit)
        except asyncio.CancelledError:  # Ctrl-C
            say("stopped waiting; the setup is still running; run `projectsetup cancel` to stop it")
            raise
    title = titled(started.project, call.name)
    if not end.succeeded:
        raise CommandError(f"setup of project {title} failed: {end.message}", ExitCode.FAILED)
    write(f"project {title} is ready: {printable(end.message)}")


async def retry(kubeconfig: Kubeconfig, project: ProjectRef, namespace: str | None) -> None:
    """Request a retry and print its effect."""
    async with SetupClient.connected(kubeconfig) as setups:
        key = await find_setup(setups, project, kubeconfig.namespace(namespace))
        write(await request_retry(setups, *key))


async def cancel(kubeconfig: Kubeconfig, project: ProjectRef, namespace: str | None) -> None:
    """Request a cancel and print its effect."""
    async with SetupClient.connected(kubeconfig) as setups:
        key = await find_setup(setups, project, kubeconfig.namespace(namespace))
        write(await request_cancel(setups, *key))


async def request_retry(setups: SetupClient, namespace: str, name: str) -> str:
    """Request a retry of a ProjectSetup; returns its effect in one line."""
    return await _request(setups, namespace, name, RETRY_REQUESTED_AT, effect_of_retry)


async def request_cancel(setups: SetupClient, namespace: str, name: str) -> str:
    """Request to cancel a ProjectSetup; returns its effect in one line."""
    return await _request(setups, namespace, name, CANCEL_REQUESTED_AT, effect_of_cancel)


def effect_of_retry(resource: ProjectSetupResource) -> str:
    """What the operator does with a retry requested now."""
    if resource.succeeded:
        return "retry ignored: the setup has already succeeded"
    if resource.is_over:
        return "retry requested: a new series of attempts starts"
    if resource.status.phase is Phase.BACKING_OFF:
        return "retry requested: the next attempt starts now"
    return "retry has no effect: the setup has not ended yet"


def effect_of_cancel(resource: ProjectSetupResource) -> str:
    """What the operator does with a cancel requested now."""
    if resource.is_over:
        return "cancel ignored: the setup has already ended"
    if resource.status.phase is Phase.RUNNING:
        return "cancel requested: the running attempt is being stopped"
    return "cancel requested: no attempt will start"


async def _request(
    setups: SetupClient, namespace: str, name: str, annotation: str, effect: Callable[[ProjectSetupResource], str]
) -> str:
    body = await setups.change(namespace, name, {annotation: timestamp(datetime.now(UTC))})
    resource = parse_resource(body)
    return f"{setup_title(namespace, name, resource.project_name)}: {effect(resource)}"
