"""The composition root: builds the operator from its settings and runs it."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil

from kubernetes.aio.client import ApiClient

from projectsetup.controller.cache import ResourceCache, pack
from projectsetup.controller.cleanup import Cleanup
from projectsetup.controller.controller import Controller
from projectsetup.controller.database_health import DatabaseHealth
from projectsetup.controller.dependencies import MissingDependencies
from projectsetup.controller.facts_reader import FactsReader
from projectsetup.controller.log_writer import expire_logs
from projectsetup.controller.metrics import (
    ATTEMPT_ENDS,
    CANCEL_RESULTS,
    RETRY_RESULTS,
    SETUP_ENDS,
    MeteredEngine,
    moment,
)
from projectsetup.controller.ports import Cluster
from projectsetup.controller.reconciler import Reconciler
from projectsetup.controller.runs import Runs
from projectsetup.controller.slots import Slots
from projectsetup.controller.status_writer import StatusWriter
from projectsetup.controller.traces import Traces
from projectsetup.controller.workqueue import WorkQueue
from projectsetup.engines.base import Engine
from projectsetup.engines.kubernetes_job.engine import JobEngine
from projectsetup.engines.kubernetes_job.manifest import SELECTOR
from projectsetup.engines.kubernetes_job.pod import PodSettings
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.engines.local.supervisor.kernel import refuse_inspection
from projectsetup.handlers import Watch
from projectsetup.intake.intake import Intake
from projectsetup.kube.connection import connect, credential_files, pod_namespace
from projectsetup.kube.job_cache import JobCache, Kind
from projectsetup.kube.jobs import JobClient
from projectsetup.kube.leader import Leader, SoleOperator
from projectsetup.kube.leader_election import CALL_TIMEOUT, LeaderElection
from projectsetup.kube.lease import LEASE_DURATION, LeaseClient, is_dead, own_identity
from projectsetup.kube.queue_config import QueueControl
from projectsetup.kube.queue_watch import QueueConfigWatch
from projectsetup.kube.setups import OPERATOR, SetupClient, setups_path
from projectsetup.lifetime import Operator
from projectsetup.observe.health import HealthServer
from projectsetup.observe.logs import get_logger
from projectsetup.observe.metrics import Metrics, Moment
from projectsetup.observe.spans import SpanExporter
from projectsetup.observe.traces import header_secrets, open_exporter
from projectsetup.observe.watch_age import WatchAge
from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.errors import DatabaseErrorKind
from projectsetup.projects.model import Backlog
from projectsetup.projects.record import ProjectRecord
from projectsetup.projects.requests import listen
from projectsetup.recipes.loader import RecipeBook
from projectsetup.settings import InvalidSettings, Settings
from projectsetup.setup.environment import portable_environment
from projectsetup.setup.scrub import Scrubber
from projectsetup.setup.types import InfrastructureError
from projectsetup.version import version


@dataclass(frozen=True, slots=True)
class Ports:
    """The operator's connections to the outside world."""

    cluster: Cluster
    record: ProjectRecord
    engine: Engine
    leader: Leader
    intake: Intake | None = None
    spans: SpanExporter | None = None
    """Where traces go; None if there are none."""


async def run_operator(settings: Settings, scrub: Callable[[str], str]) -> int:
    """Build and run the operator; return its exit code. `scrub` removes secrets from a text.

    Raises InvalidDatabaseUrl, KubeconfigError, InvalidSettings (the workspace root is unusable) or OSError (the HTTP
    port is taken) before it has started anything.
    """
    refuse_inspection()
    spans = open_exporter(os.environ, version=version(), scrub=Scrubber(header_secrets(os.environ)).scrub)
    gc.freeze()  # exclude the imported modules: collecting them again would block the event loop for long
    metrics = new_metrics()
    address = DatabaseAddress.parse(settings.database_url.get_secret_value())
    metrics.database_protected(address.protection)
    if address.warning is not None:
        get_logger("database").warning(address.warning)
    record = ProjectRecord.connect(
        address, on_error=metrics.database_failed, namespace_required=settings.require_namespace
    )
    try:
        async with (
            connections(settings, metrics) as (api, elected),
            running_engine(settings, address, api, elected, metrics) as engine,
        ):
            get_logger("operator").info("starting", version=version(), engine=settings.engine)
            setups = SetupClient(api, field_manager=OPERATOR)
            intake = _intake(settings, address, setups, record, elected)
            ports = Ports(setups, record, engine, elected, intake, spans)
            return await compose(settings, api, ports, metrics, scrub).run()
    finally:
        await record.close()
        if spans is not None:
            await asyncio.to_thread(spans.close)


def _intake(
    settings: Settings, address: DatabaseAddress, setups: SetupClient, record: ProjectRecord, leader: Leader
) -> Intake | None:
    if settings.intake_namespace is None:
        return None
    return Intake(
        record.setup_requests(),
        setups,
        leader,
        settings.intake_namespace,
        partial(listen, address),
        namespace_required=settings.require_namespace,
    )


@asynccontextmanager
async def connections(settings: Settings, metrics: Metrics) -> AsyncIterator[tuple[ApiClient, Leader]]:
    """The API client, which may write only while this operator leads, and the leader election with its own client."""
    async with await connect(on_write=metrics.api_written) as elections:
        elected = leader(settings, elections)
        report, readable = metrics.api_written, _readable(settings)
        async with await connect(on_write=report, may_write=elected.check, readable=readable) as api:
            yield api, elected


def _readable(settings: Settings) -> str:
    """A collection that every operator with its roles may list."""
    return setups_path(next(iter(settings.namespaces), None))


def new_metrics() -> Metrics:
    """Metrics that have a series for every way in which setups, attempts and requests can end."""
    metrics = Metrics(
        setup_ends=SETUP_ENDS,
        attempt_ends=ATTEMPT_ENDS,
        retry_results=RETRY_RESULTS.values(),
        cancel_results=CANCEL_RESULTS.values(),
        database_errors=DatabaseErrorKind,
    )
    metrics.set_build_info(version(), platform.python_version())
    return metrics


def running_engine(
    settings: Settings, database: DatabaseAddress, api: ApiClient, leader: Leader, metrics: Metrics
) -> AbstractAsyncContextManager[Engine]:
    """The engine that the settings name, started. Raises InvalidSettings if the workspace root is unusable."""
    return _jobs(settings, api, leader, metrics) if settings.engine == "job" else _processes(settings, database)


@asynccontextmanager
async def _processes(settings: Settings, database: DatabaseAddress) -> AsyncIterator[Engine]:
    hidden = (*credential_files(), *database.secret_files) if settings.confine_steps else None
    engine = LocalEngine(settings.workspace_root, hidden=hidden, allow_file_repos=settings.allow_file_repos)
    try:
        await _start(engine, settings)
        yield engine
    finally:
        await engine.close()


async def _start(engine: LocalEngine, settings: Settings) -> None:
    try:
        await engine.start()
    except InfrastructureError as error:
        raise InvalidSettings(f"PROJECTSETUP_WORKSPACE_ROOT={settings.workspace_root}: {error}") from error


@asynccontextmanager
async def _jobs(settings: Settings, api: ApiClient, leader: Leader, metrics: Metrics) -> AsyncIterator[Engine]:
    async with await connect(streaming=True, on_write=metrics.api_written, readable=_readable(settings)) as streams:
        board = JobCache(streams, settings.namespaces, selector=SELECTOR)
        for kind in Kind:
            metrics.watch(kind.lower(), partial(board.age, kind))
        calls = JobClient(api, streams, leader)
        engine = JobEngine(calls, board, pod_settings(settings, os.environ))
        try:
            await engine.start()
            yield engine
        finally:
            await engine.close()


def pod_settings(settings: Settings, environment: Mapping[str, str]) -> PodSettings:
    """The settings of attempts' pods; `environment` is the operator's own."""
    return PodSettings(
        priority_class=settings.job_priority_class,
        node_selector=settings.job_node_selector,
        labels=settings.job_labels,
        annotations=settings.job_annotations,
        tolerations=tuple(toleration.to_core_api() for toleration in settings.job_tolerations),
        queue=settings.job_queue,
        ttl=ceil(settings.job_ttl.total_seconds()),
        start_limit=settings.job_start_limit.total_seconds(),
        image_pull_secrets=settings.job_image_pull_secrets,
        index_secret=settings.job_index_secret,
        environment=portable_environment(environment),
        allow_file_repos=settings.allow_file_repos,
    )


def operator_namespace(settings: Settings) -> str:
    """The namespace of the Lease and the queue ConfigMap."""
    return settings.operator_namespace or pod_namespace() or "default"


def leader(settings: Settings, api: ApiClient) -> Leader:
    """Leader election by the Lease, or a stand-in if it is switched off."""
    if not settings.leader_election:
        return SoleOperator()
    lease = LeaseClient(api, operator_namespace(settings), duration=LEASE_DURATION, timeout=CALL_TIMEOUT)
    return LeaderElection(lease, own_identity(), is_dead=is_dead)


def compose(
    settings: Settings, api: ApiClient, ports: Ports, metrics: Metrics, scrub: Callable[[str], str]
) -> Operator:
    """Build the operator on these ports."""
    watch_age = WatchAge()
    slots = Slots(settings.concurrency, paused=True)  # until the queue ConfigMap has been read
    watch = Watch(settings.namespaces, pack)
    controller = _controller(
        settings, ports, slots, metrics=metrics, watch_age=watch_age, scrub=scrub, restart_watch=watch.restart
    )
    watch.deliver_to(controller.seen, controller.is_news)

    def control_queue(control: QueueControl) -> None:
        slots.paused = control.starts_nothing
        slots.capacity = settings.concurrency if control.concurrency is None else control.concurrency
        slots.limit(control.limits)
        controller.queue_is_known.set()
        controller.grant_slots()

    queue_watch = QueueConfigWatch(api, operator_namespace(settings), on_change=control_queue)
    metrics.watch("projectsetups", watch_age.silence)
    metrics.watch("configmaps", queue_watch.silence)
    dependencies = controller.reconciler.facts.dependencies

    def show() -> Moment:
        backlog = Backlog() if ports.intake is None else ports.intake.backlog
        return moment(slots, controller.runs, dependencies, backlog, leading=controller.leading)

    metrics.show(show)
    checks = {
        "database": lambda: controller.database.problem,
        "api server": lambda: controller.api_problem,
        "watch": lambda: watch_age.problem,
        "queue": lambda: None if controller.queue_is_known.is_set() else "its ConfigMap has not been read yet",
    }
    return Operator(
        controller=controller,
        leader=ports.leader,
        watch=watch,
        health=HealthServer(settings.http_port, checks=checks, metrics=metrics.render),
        queue_config=queue_watch,
        grace=settings.shutdown_grace.total_seconds(),
        intake=ports.intake,
        expire_logs=partial(expire_logs, ports.record.logs(), settings.log_retention, ports.leader),
    )


def _controller(
    settings: Settings,
    ports: Ports,
    slots: Slots,
    *,
    metrics: Metrics,
    watch_age: WatchAge,
    scrub: Callable[[str], str],
    restart_watch: Callable[[], None],
) -> Controller:
    cache, queue = ResourceCache(), WorkQueue()
    database = DatabaseHealth(ports.record.ping, ports.record.try_write)
    traces = Traces(ports.spans, scrub)
    runs = Runs(
        MeteredEngine(ports.engine, metrics),
        ports.record,
        ports.leader,
        on_progress=lambda key, delay: queue.add(key, delay=delay),
        on_end=queue.add,
        log_limit=settings.log_limit,
    )
    cleanup = Cleanup(runs, ports.record, database, ports.leader, queue, traces)
    recipes = RecipeBook(settings.recipes_dir)
    dependencies = MissingDependencies(ports.cluster, recipes, queue.add)
    facts = FactsReader(
        cluster=ports.cluster,
        record=ports.record,
        database=database,
        recipes=recipes,
        dependencies=dependencies,
        dependency_limit=settings.dependency_limit,
        runs=runs,
        slots=slots,
        engine=ports.engine,
        allow_file_repos=settings.allow_file_repos,
        git_hosts=settings.git_hosts,
        namespace_required=settings.require_namespace,
        projects_from_spec=settings.projects_from_spec,
    )
    reconciler = Reconciler(
        cache=cache,
        facts=facts,
        cluster=ports.cluster,
        record=ports.record,
        database=database,
        runs=runs,
        slots=slots,
        queue=queue,
        leader=ports.leader,
        metrics=metrics,
        writer=StatusWriter(ports.cluster, cache, ports.leader, metrics, scrub),
        traces=traces,
        on_deleted=cleanup.add,
    )
    controller = Controller(
        cache=cache,
        cluster=ports.cluster,
        record=ports.record,
        database=database,
        runs=runs,
        cleanup=cleanup,
        slots=slots,
        queue=queue,
        reconciler=reconciler,
        leader=ports.leader,
        metrics=metrics,
        watch_age=watch_age,
        namespaces=settings.namespaces,
        restart_watch=restart_watch,
    )
    database.on_recovery(controller.database_recovered)
    return controller
