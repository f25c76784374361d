"""This operator with child processes, a kopf operator and Oban for Python, each killed in the middle of a setup."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from benchmarks import kills
from benchmarks.arena import COLLECTION, Arena, Start, until
from benchmarks.controllers import running
from benchmarks.kills import Aftermath, Target
from benchmarks.oban_runner import OBAN, ObanRunner, shell
from benchmarks.step_calls import StepCalls, step_calls
from benchmarks.throughput import KOPF, OURS, kopf_start, make_projects

LIMIT: Final = 60.0
RESCUED_AFTER: Final = 300
"""Seconds after its start at which Oban considers a job orphaned, by default; it looks for such jobs every 60 s."""
OBAN_LIMIT: Final = RESCUED_AFTER + 40.0
OBAN_LIMIT_QUICK: Final = 15.0
AT_ONCE: Final = 4


def measure(arena: Arena, oban: ObanRunner, *, quick: bool) -> list[list[Aftermath]]:
    """The contenders in turn, ours first, each killed once; `quick` does not wait for Oban."""
    with step_calls("127.0.0.1") as calls:
        scripts = _scripts(calls)
        arena.recipe("reporting", *scripts)
        options = {"PEER_EVENTS": "true", "PEER_SCRIPTS": "\n".join(scripts)}
        limit = OBAN_LIMIT_QUICK if quick else OBAN_LIMIT
        return [
            [_kill_operator(arena, OURS, arena.operator_start(), calls)],
            [_kill_operator(arena, KOPF, kopf_start(arena, options), calls)],
            [_kill_oban(arena, oban, oban.start(list(map(shell, scripts)), at_once=AT_ONCE), calls, limit)],
        ]


def _scripts(calls: StepCalls) -> list[str]:
    """As `kills.scripts`, for a Debian without wget."""
    server = urlsplit(calls.url)
    connect = f"exec 3<>/dev/tcp/{server.hostname}/{server.port}"
    return [
        rf"""bash -c '{connect}; printf "GET /$PROJECT_ID/{step} HTTP/1.0\r\n\r\n" >&3; read -r _ <&3';"""
        f" sleep {kills.STEP_SECONDS}"
        for step in range(kills.STEPS)
    ]


def _kill_operator(arena: Arena, name: str, start: Start, calls: StepCalls) -> Aftermath:
    def create(setup: str) -> None:
        _create_project(arena, setup)
        arena.create([setup], "reporting")

    def has_succeeded(setup: str) -> bool:
        status = arena.wire.get(f"{COLLECTION}/{setup}").get("status", {})
        return bool(status.get("phase") == "Succeeded")

    with running(arena.controller(start)) as process:
        after = kills.kill_in_the_middle(Target(name, process, create, _awaiting(has_succeeded, LIMIT), LIMIT), calls)
    arena.clear()
    return after


def _kill_oban(arena: Arena, oban: ObanRunner, start: Start, calls: StepCalls, limit: float) -> Aftermath:
    with oban.client() as ask, running(arena.controller(start)) as process:

        def create(project: str) -> None:
            _create_project(arena, project)
            ask(project)

        target = Target(OBAN, process, create, _awaiting(oban.has_completed, limit), limit)
        after = kills.kill_in_the_middle(target, calls)
    oban.clear()
    arena.clear()
    return after


def _awaiting(has_ended: Callable[[str], bool], limit: float) -> Callable[[str], None]:
    return lambda name: until(lambda: has_ended(name), "the setup to succeed", every=0.01, limit=limit)


def _create_project(arena: Arena, name: str) -> None:
    asyncio.run(make_projects(arena.cluster.database_url, [name]))
