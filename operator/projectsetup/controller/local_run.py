"""Runs an attempt as processes of this machine: the setup module on the local engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

from projectsetup.controller.attempts import Adoption, AttemptOrder
from projectsetup.controller.facts import Progress
from projectsetup.controller.telling import telling
from projectsetup.engines.base import AttemptRef, LookUp
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.observe.logs import get_logger
from projectsetup.recipes.model import Recipe
from projectsetup.setup.caches import package_caches
from projectsetup.setup.outcome import SetupFailed, SetupOutcome, SetupSucceeded
from projectsetup.setup.steps import setup_project

_log = get_logger("steps")


class LocalRun:
    """The engine `local`."""

    name = "local"
    outlives_operator = False
    needs_credentials = True

    def __init__(self, workspace_root: Path, *, hidden: Collection[Path] | None, allow_file_repos: bool) -> None:
        """`hidden`: files of the operator that no step may reach, nor those of others; None: steps are not confined."""
        self._engine = LocalEngine(workspace_root, hidden=hidden)
        self._allow_file_repos = allow_file_repos

    def digest(self, _recipe: Recipe, _timeout: float) -> None:
        """Nothing is adopted."""

    async def start(self) -> None:
        """Start what runs and watches the steps; what dead operators have left is removed."""
        await self._engine.start()

    async def close(self) -> None:
        """End everything."""
        await self._engine.close()

    async def kill_all(self) -> None:
        """End every process of every attempt at once."""
        await self._engine.kill_all()

    async def sweep(self, look_up: LookUp) -> None:
        """Nothing goes on without its operator."""

    async def run(
        self, order: AttemptOrder | Adoption, on_progress: Callable[[Progress], None], _leave: asyncio.Event
    ) -> SetupSucceeded | SetupFailed:
        """Run one attempt; InfrastructureError when it broke. Cancelled, it returns when all of it is gone."""
        if isinstance(order, Adoption):
            raise TypeError("processes end with their operator, there is nothing to adopt")
        reference = AttemptRef(order.uid, order.project.id, order.number, order.fence)
        namespace, _ = order.key
        caches = package_caches(os.environ, namespace)
        async with self._engine.open(reference, caches) as runner:
            setup = setup_project(
                order.told_project(),
                order.recipe,
                telling(on_progress),
                runner=runner,
                attempt=order.number,
                parameters=order.parameters,
                time_limit=order.timeout,
                operator_environment={**os.environ, **caches.environment},
                credentials=order.credentials,
                allow_file_repos=self._allow_file_repos,
                on_line=lambda step, line: _log.info(line, step=step),
            )
            return await _stopped_when_cancelled(setup, runner.stop)


async def _stopped_when_cancelled(setup: Coroutine[Any, Any, SetupOutcome], stop: Callable[[], None]) -> SetupOutcome:
    """The outcome of `setup`, which is stopped when this is cancelled: a last step that ends well all the same wins."""
    task = asyncio.ensure_future(setup)
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            stop()
    return task.result()
