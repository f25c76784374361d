"""Carrying out `dashboard`."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final
from uuid import UUID

from projectsetup.cli.cluster import NoSuchSetup, Setups
from projectsetup.cli.errors import CommandError
from projectsetup.cli.following import Follower, Found
from projectsetup.cli.output import say, write
from projectsetup.cli.requesting import ask_to_cancel, ask_to_retry
from projectsetup.dashboard import Action, Actions, DashboardServer, Sight
from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.errors import ApiNotFound
from projectsetup.kube.raw import RawApi

NOBODY: Final = str(UUID(int=0))


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
    async with await connect(kubeconfig) as api:
        setups = Setups(api)
        await setups.find(namespace or "default", NOBODY)  # whether the cluster is there and knows ProjectSetups

        async def follow(on_change: Callable[[Found], bool], on_outage: Callable[[str], None]) -> None:
            await Follower(setups, namespace, None, on_outage=on_outage).run(on_change)

        sight = Sight(follow, RawApi(api), operator_namespace)
        server = _listen(sight, namespace, _actions(setups) if allow_actions else None, port)
        write(f"{server.url} shows the ProjectSetups in {namespace or 'all namespaces'}; Ctrl-C ends it")
        if browse:
            threading.Thread(target=_open, args=(server.url,), daemon=True).start()
        await _first_of(sight.follow_setups(), sight.follow_queue(), server.run(), _told_to_end())


def _listen(sight: Sight, namespace: str | None, actions: Actions | None, port: int) -> DashboardServer:
    try:
        return DashboardServer(sight, namespace, actions, port=port)
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else "it cannot be listened at"
        raise CommandError(f"port {port} of this machine: {why}; --port 0 takes one that is free") from exc


def _actions(setups: Setups) -> Actions:
    """What the commands `retry` and `cancel` do."""

    def action(ask: Callable[[Setups, str, str], Awaitable[str]]) -> Action:
        async def act(namespace: str, name: str) -> str:
            try:
                return await ask(setups, namespace, name)
            except NoSuchSetup as exc:
                raise ApiNotFound(str(exc)) from exc

        return act

    return Actions(retry=action(ask_to_retry), cancel=action(ask_to_cancel))


def _open(url: str) -> None:
    if not webbrowser.open(url):
        say("no browser could be opened")


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Carry out all of them until the first one ends, and raise what it raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _told_to_end() -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
