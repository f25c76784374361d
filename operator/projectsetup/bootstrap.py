"""The one composition root: builds the operator from its settings and runs it."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil

from kubernetes.aio.client import ApiClient

from projectsetup.controller.attempts import Attempts
from projectsetup.controller.controller import Controller
from projectsetup.controller.database_gate import DatabaseGate
from projectsetup.controller.departures import Departures
from projectsetup.controller.dependencies import MissingDependencies
from projectsetup.controller.facts_reader import FactsReader
from projectsetup.controller.measured import MeasuredEngine
from projectsetup.controller.ports import Cluster
from projectsetup.controller.queue import StartLine, WorkQueue
from projectsetup.controller.reconciler import Reconciler
from projectsetup.controller.store import ResourceStore, pack
from projectsetup.controller.telemetry import ATTEMPT_ENDS, CANCEL_RESULTS, RETRY_RESULTS, SETUP_ENDS, moment
from projectsetup.engines.base import Engine
from projectsetup.engines.kubernetes_job.engine import JobEngine
from projectsetup.engines.kubernetes_job.manifest import SELECTOR
from projectsetup.engines.kubernetes_job.pod import PodSettings
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.engines.local.supervisor.kernel import refuse_inspection
from projectsetup.handlers import Watch
from projectsetup.kube.client import ClusterClient
from projectsetup.kube.connection import connect, credential_files, pod_namespace
from projectsetup.kube.identity import is_dead, own_identity
from projectsetup.kube.job_store import Kind
from projectsetup.kube.job_watch import JobBoard
from projectsetup.kube.jobs import JobCluster
from projectsetup.kube.leader import Leader, SoleOperator
from projectsetup.kube.leadership import CALL_TIMEOUT, Leadership
from projectsetup.kube.lease import LeaseClient
from projectsetup.kube.queue_config import QueueControl
from projectsetup.kube.queue_watch import QueueConfigWatch
from projectsetup.kube.vacancy import LEASE_DURATION
from projectsetup.lifetime import Operator
from projectsetup.observe.health import HealthServer
from projectsetup.observe.logs import get_logger
from projectsetup.observe.metrics import Metrics
from projectsetup.observe.watch_age import WatchAge
from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.errors import Trouble
from projectsetup.projects.record import ProjectRecord
from projectsetup.recipes.loader import RecipeBook
from projectsetup.settings import InvalidSettings, Settings
from projectsetup.setup.environment import portable_environment
from projectsetup.setup.errors import InfrastructureError
from projectsetup.version import version

PROGRESS_DELAY = 0.1
"""Seconds before a new step is looked at: of several that begin meanwhile, the last one counts."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The operator's dealings with the outside, each real in production."""

    cluster: Cluster
    record: ProjectRecord
    engine: Engine
    leader: Leader


async def run_operator(settings: Settings, scrub: Callable[[str], str]) -> int:
    """Build and run the operator with everything real; the exit code. `scrub` takes secrets out of a text.

    InvalidDatabaseUrl, KubeconfigError, InvalidSettings (the workspace root cannot be used) and OSError (the HTTP port
    is taken) end it before anything was begun.
    """
    refuse_inspection()
    gc.freeze()  # what was imported stays: a collection that looks at all of it stops the event loop for long
    get_logger("operator").info("starting", version=version(), engine=settings.engine)
    metrics = new_metrics()
    address = DatabaseAddress.parse(settings.database_url.get_secret_value())
    metrics.database_protected(address.protection)
    if address.warning is not None:
        get_logger("database").warning(address.warning)
    record = ProjectRecord.connect(
        address, on_trouble=metrics.database_failed, namespace_required=settings.require_namespace
    )
    try:
        async with (
            connections(settings, metrics) as (api, elected),
            running_engine(settings, address, api, elected, metrics) as engine,
        ):
            ports = Ports(ClusterClient(api), record, engine, elected)
            return await compose(settings, api, ports, metrics, scrub).run()
    finally:
        await record.close()


@asynccontextmanager
async def connections(settings: Settings, metrics: Metrics) -> AsyncIterator[tuple[ApiClient, Leader]]:
    """The way to the API server, on which only who leads may write, and that leader, who has a way of its own."""
    async with await connect(on_write=metrics.api_written) as elections:
        elected = leader(settings, elections)
        async with await connect(on_write=metrics.api_written, may_write=elected.check) as api:
            yield api, elected


def new_metrics() -> Metrics:
    """Metrics that know from the start how setups, attempts and requests may end."""
    metrics = Metrics(
        setup_ends=SETUP_ENDS,
        attempt_ends=ATTEMPT_ENDS,
        retry_results=RETRY_RESULTS.values(),
        cancel_results=CANCEL_RESULTS.values(),
        database_errors=Trouble,
    )
    metrics.set_build_info(version(), platform.python_version())
    return metrics


def running_engine(
    settings: Settings, database: DatabaseAddress, api: ApiClient, leader: Leader, metrics: Metrics
) -> AbstractAsyncContextManager[Engine]:
    """The engine that the settings name, started. InvalidSettings: the workspace root cannot be used."""
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
    async with await connect(streaming=True, on_write=metrics.api_written) as streams:
        board = JobBoard(streams, settings.namespaces, selector=SELECTOR)
        for kind in Kind:
            metrics.watch(kind.lower(), partial(board.age, kind))
        calls = JobCluster(api, streams, leader)
        engine = JobEngine(calls, board, pod_settings(settings, os.environ))
        try:
            await engine.start()
            yield engine
        finally:
            await engine.close()


def pod_settings(settings: Settings, environment: Mapping[str, str]) -> PodSettings:
    """How the pods of attempts are to be; `environment` is the operator's own."""
    return PodSettings(
        priority_class=settings.job_priority_class,
        node_selector=settings.job_node_selector,
        labels=settings.job_labels,
        annotations=settings.job_annotations,
        tolerations=tuple(toleration.as_in_a_pod() for toleration in settings.job_tolerations),
        queue=settings.job_queue,
        ttl=ceil(settings.job_ttl.total_seconds()),
        start_limit=settings.job_start_limit.total_seconds(),
        image_pull_secrets=settings.job_image_pull_secrets,
        index_secret=settings.job_index_secret,
        environment=portable_environment(environment),
        allow_file_repos=settings.allow_file_repos,
    )


def operator_namespace(settings: Settings) -> str:
    """Where the Lease and the queue's ConfigMap are."""
    return settings.operator_namespace or pod_namespace() or "default"


def leader(settings: Settings, api: ApiClient) -> Leader:
    """Leader election by the Lease, or its stand-in where it is switched off."""
    if not settings.leader_election:
        return SoleOperator()
    lease = LeaseClient(api, operator_namespace(settings), duration=LEASE_DURATION, timeout=CALL_TIMEOUT)
    return Leadership(lease, own_identity(), is_dead=is_dead)


def compose(
    settings: Settings, api: ApiClient, ports: Ports, metrics: Metrics, scrub: Callable[[str], str]
) -> Operator:
    """The operator on these ports."""
    watch_age = WatchAge()
    line = StartLine(settings.concurrency, paused=True)  # until the queue's ConfigMap was asked
    watch = Watch(settings.namespaces, pack)
    controller = _controller(
        settings, ports, line, metrics=metrics, watch_age=watch_age, scrub=scrub, restart_watch=watch.restart
    )
    watch.tell(controller.seen)

    def control_queue(control: QueueControl) -> None:
        line.paused = control.paused
        line.capacity = settings.concurrency if control.concurrency is None else control.concurrency
        controller.queue_is_known.set()
        controller.give_slots()

    queue_watch = QueueConfigWatch(api, operator_namespace(settings), on_change=control_queue)
    metrics.watch("projectsetups", watch_age.heard.seconds)
    metrics.watch("configmaps", queue_watch.heard.seconds)
    dependencies = controller.reconciler.facts.dependencies
    metrics.show(lambda: moment(line, controller.attempts, dependencies, leading=controller.leading))
    checks = {
        "database": lambda: controller.gate.shut_because,
        "api server": lambda: controller.api_problem,
        "watch": lambda: watch_age.problem,
        "queue": lambda: None if controller.queue_is_known.is_set() else "its ConfigMap could not be asked for yet",
    }
    return Operator(
        controller=controller,
        leader=ports.leader,
        watch=watch,
        health=HealthServer(settings.http_port, checks=checks, metrics=metrics.render),
        queue_config=queue_watch,
        grace=settings.shutdown_grace.total_seconds(),
    )


def _controller(
    settings: Settings,
    ports: Ports,
    line: StartLine,
    *,
    metrics: Metrics,
    watch_age: WatchAge,
    scrub: Callable[[str], str],
    restart_watch: Callable[[], None],
) -> Controller:
    store, queue, gate = ResourceStore(), WorkQueue(), DatabaseGate(ports.record.ping, ports.record.try_write)
    attempts = Attempts(
        MeasuredEngine(ports.engine, metrics),
        ports.record,
        ports.leader,
        on_progress=partial(queue.add, delay=PROGRESS_DELAY),
        on_end=queue.add,
    )
    departures = Departures(attempts, ports.record, gate, ports.leader, queue)
    recipes = RecipeBook(settings.recipes_dir)
    dependencies = MissingDependencies(ports.cluster, recipes, queue.add)
    facts = FactsReader(
        cluster=ports.cluster,
        record=ports.record,
        gate=gate,
        recipes=recipes,
        dependencies=dependencies,
        dependency_limit=settings.dependency_limit,
        attempts=attempts,
        line=line,
        engine=ports.engine,
        allow_file_repos=settings.allow_file_repos,
        git_hosts=settings.git_hosts,
        namespace_required=settings.require_namespace,
    )
    reconciler = Reconciler(
        store=store,
        facts=facts,
        cluster=ports.cluster,
        record=ports.record,
        gate=gate,
        attempts=attempts,
        line=line,
        queue=queue,
        leader=ports.leader,
        metrics=metrics,
        scrub=scrub,
        on_departed=departures.add,
    )
    controller = Controller(
        store=store,
        cluster=ports.cluster,
        record=ports.record,
        gate=gate,
        attempts=attempts,
        departures=departures,
        line=line,
        queue=queue,
        reconciler=reconciler,
        leader=ports.leader,
        metrics=metrics,
        watch_age=watch_age,
        namespaces=settings.namespaces,
        restart_watch=restart_watch,
    )
    gate.when_back(controller.database_is_back)
    return controller
