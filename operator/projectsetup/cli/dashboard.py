"""What `dashboard` does: serve the web page until it is interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import webbrowser
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from uuid import UUID

from kubernetes.aio.client import ApiClient

from projectsetup.cli.errors import CommandError
from projectsetup.cli.output import say, write
from projectsetup.cli.setups import request_cancel, request_retry
from projectsetup.dashboard import Actions, ClusterState, DashboardServer, LogSources
from projectsetup.kube.client import RestClient
from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.pod_logs import PodLogs
from projectsetup.kube.setups import COMMAND_LINE, SetupClient
from projectsetup.log_reader import PodOutput, StoredLogs
from projectsetup.projects import ProjectRecord
from projectsetup.projects.address import DatabaseAddress

DATABASE_LIMIT: Final = 3.0
"""Seconds of one call: a page that waits for the database still comes in time."""
_NO_PROJECT: Final = str(UUID(int=0))


async def serve(
    kubeconfig: Kubeconfig,
    namespace: str | None,
    operator_namespace: str,
    *,
    port: int,
    allow_actions: bool,
    browse: bool,
) -> None:
    """Serve the dashboard until SIGINT or SIGTERM."""
    async with await connect(kubeconfig) as api, _log_sources(api) as sources:
        setups = SetupClient(api, field_manager=COMMAND_LINE)
        await setups.find(namespace or "default", _NO_PROJECT)  # fails if the cluster or its CRD is missing
        state = ClusterState(setups, RestClient(api), namespace, operator_namespace)
        server = _listen(state, namespace, sources, _actions(setups) if allow_actions else None, port)
        write(f"{server.url} shows the ProjectSetups in {namespace or 'all namespaces'}; press Ctrl-C to stop")
        if browse:
            threading.Thread(target=_open, args=(server.url,), daemon=True).start()
        await _first_of(state.follow_setups(), state.follow_queue(), server.run(), _stop_signal())


@asynccontextmanager
async def _log_sources(api: ApiClient) -> AsyncIterator[LogSources]:
    """The database if DATABASE_URL is set, else the pods."""
    if not os.environ.get("DATABASE_URL"):
        setups, logs = SetupClient(api, field_manager=COMMAND_LINE), PodLogs(RestClient(api))
        yield lambda namespace, project_id: PodOutput(setups, logs, namespace, project_id)
        return
    async with ProjectRecord.connect(DatabaseAddress.from_environment(), call_limit=DATABASE_LIMIT) as record:
        yield lambda namespace, project_id: StoredLogs(record, project_id, namespace)


def _listen(
    state: ClusterState, namespace: str | None, sources: LogSources, actions: Actions | None, port: int
) -> DashboardServer:
    try:
        return DashboardServer(state, namespace, sources, actions, port=port)
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        raise CommandError(f"cannot listen on port {port}: {reason}; use --port 0 for any free port") from exc


def _actions(setups: SetupClient) -> Actions:
    """The same as the commands `retry` and `cancel`."""
    return Actions(retry=partial(request_retry, setups), cancel=partial(request_cancel, setups))


def _open(url: str) -> None:
    if not webbrowser.open(url):
        say("cannot open a browser")


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run all of them until the first one ends, and raise what it raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _stop_signal() -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
