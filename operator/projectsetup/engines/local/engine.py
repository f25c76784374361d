"""The local engine: attempts run as processes on this machine, under a supervisor that ends them when this one dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from projectsetup.api.reasons import Reason
from projectsetup.engines.base import Adoption, AttemptSpec, FindRun
from projectsetup.engines.local.attempt import LocalAttempt, Reach
from projectsetup.engines.local.supervisor_client import SupervisorLink, SupervisorRefused
from projectsetup.engines.local.workspace import AttemptDirectory
from projectsetup.engines.patience import uninterrupted
from projectsetup.engines.volume import check_volume
from projectsetup.setup.caches import NO_CACHES, PackageCaches, package_caches
from projectsetup.setup.steps import setup_project
from projectsetup.setup.types import InfrastructureError

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.recipes.model import Recipe
    from projectsetup.setup.types import Progress, ProgressCallback, SetupOutcome

GRACE: Final = 10.0
"""Seconds between SIGTERM and SIGKILL when a step is stopped."""

_log = logging.getLogger("projectsetup.engine")
_step_log = logging.getLogger("projectsetup.steps")


class LocalEngine:
    """Runs attempts as processes. Whatever happens to this process, no process of an attempt outlives it for long.

    Should the supervisor die, its attempts are `Interrupted` and the next attempt gets another supervisor.
    """

    name = "local"
    outlives_operator = False
    needs_credentials = True

    def __init__(
        self,
        workspace_root: Path,
        *,
        hidden: Collection[Path] | None = None,
        allow_file_repos: bool = False,
        grace: float = GRACE,
    ) -> None:
        """`workspace_root`: an existing directory, which operators on one machine may share.

        Where the kernel has Landlock, steps cannot look into processes outside the step. `hidden`: files and
        directories that no step may reach either, in addition to those of other attempts and to other namespaces'
        package caches. With None, steps reach all files that their user may use.
        """
        self._root = workspace_root.resolve()
        self._hidden = None if hidden is None else tuple(path.absolute() for path in hidden)
        self._allow_file_repos = allow_file_repos
        self._grace = grace
        self._link: SupervisorLink | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self._numbers = count(1)

    @property
    def supervisor_pid(self) -> int | None:
        """The process id of the supervisor, once there is one."""
        return self._link.pid if self._link is not None else None

    async def start(self) -> None:
        """Start the supervisor and end what dead operators have left.

        Raises InfrastructureError, also when programs cannot be made and run below the workspace root.
        """
        await check_volume(self._root)
        await self._supervisor()

    async def close(self) -> None:
        """End everything that still runs at once, remove all workspaces, and end the supervisor."""
        self._closed = True
        if self._link is not None:
            await uninterrupted(self._link.close())

    def digest(self, _recipe: Recipe, _timeout: float) -> None:
        """See `Engine`: nothing is adopted."""

    async def run(
        self, attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, _leave: asyncio.Event
    ) -> SetupOutcome:
        """Run one attempt; see `Engine`."""
        if isinstance(attempt, Adoption):
            raise TypeError("local attempts end with their operator and cannot be adopted")

        def step_begun(progress: Progress) -> None:
            if progress.completed < progress.total:  # the outcome reports that the last step is done
                on_progress(progress)

        caches = package_caches(os.environ, attempt.namespace)
        async with self.open(attempt.project_id, attempt.number, caches) as runner:
            setup = setup_project(
                attempt.project,
                attempt.recipe,
                step_begun,
                runner=runner,
                attempt=attempt.number,
                parameters=attempt.parameters,
                time_limit=attempt.timeout,
                operator_environment={**os.environ, **caches.environment},
                credentials=attempt.credentials,
                allow_file_repos=self._allow_file_repos,
                on_line=lambda step, line: _step_log.info("%s", line, extra={"step": step}),
            )
            return await _stopped_when_cancelled(setup, runner.stop)

    async def collect_garbage(self, find_run: FindRun) -> None:
        """Do nothing: no run outlives its operator."""

    @contextlib.asynccontextmanager
    async def open(
        self, project_id: UUID, number: int, caches: PackageCaches = NO_CACHES
    ) -> AsyncIterator[LocalAttempt]:
        """A fresh workspace for one attempt, and its runner; the workspace is removed at the end in every case.

        Of all below the roots of `caches` its steps reach those alone that are their own. Raises InfrastructureError
        when there cannot be one.
        """
        link = await self._supervisor()
        name = f"{str(project_id)[:8]}-{number}-{next(self._numbers)}"
        directory = AttemptDirectory(link.directory / name)
        try:
            try:
                directory.make()
            except OSError as exc:
                message = f"cannot make a workspace: {exc.strerror}"
                raise InfrastructureError(Reason.ENGINE_ERROR, message) from exc
            try:
                caches.make()
            except OSError as exc:
                message = f"cannot make the package cache {exc.filename}: {exc.strerror}"
                raise InfrastructureError(Reason.ENGINE_ERROR, message) from exc
            hidden = None if self._hidden is None else (*self._hidden, *caches.roots)
            reach = Reach(hidden, visible=caches.own.values())
            yield LocalAttempt(link, directory, reach=reach, grace=self._grace, on_loss=self._replace_lost)
        finally:
            await uninterrupted(self._remove(link, name))

    async def kill_all(self) -> None:
        """SIGKILL for everything of every attempt; returns when it is gone. Running steps are `Interrupted`."""
        if self._link is None:
            return
        await uninterrupted(self._link.kill_all())
        if self._link.lost.is_set():
            with contextlib.suppress(InfrastructureError):
                await uninterrupted(self._replace_lost())

    async def _supervisor(self) -> SupervisorLink:
        """The supervisor, or a new one in the place of one that is lost; that one's processes are gone then."""
        async with self._starting:
            if self._closed:
                raise InfrastructureError(Reason.ENGINE_ERROR, "the engine is closed")
            if self._link is not None and not self._link.lost.is_set() and not self._link.directory.is_dir():
                _log.warning("the directory of local attempts is gone, and with it what they were working on")
                await uninterrupted(self._link.close())
            if self._link is None or self._link.lost.is_set():
                if self._link is not None:
                    _log.warning("the supervisor of local attempts ended, starting another")
                    await self._link.ended()
                try:
                    self._link = await SupervisorLink.start(self._root)
                except SupervisorRefused as exc:
                    raise InfrastructureError(Reason.ENGINE_ERROR, str(exc)) from exc
                processes, directories = self._link.leftovers
                if not self._link.confines:
                    _log.warning("this kernel has no Landlock: steps can look into other processes of this user")
                if directories:
                    _log.warning("cleared away what %d dead operators left: %d processes", directories, processes)
            return self._link

    async def _replace_lost(self) -> None:
        """Returns when nothing is alive of what a lost supervisor had started: the next one sees to that at its start.

        A supervisor that was lost because the engine is closed does so itself.
        """
        if not self._closed:
            await self._supervisor()

    async def _remove(self, link: SupervisorLink, name: str) -> None:
        try:
            end = await link.remove(name).end()
        except OSError as error:
            _log.warning("cannot remove workspace %s now: %s", name, error.strerror)
            return
        if end.lost:
            with contextlib.suppress(InfrastructureError):
                await self._replace_lost()
        elif end.result is not None and "error" in end.result:
            _log.warning("workspace %s could not be removed: %s", name, end.result["error"])


async def _stopped_when_cancelled(setup: Coroutine[Any, Any, SetupOutcome], stop: Callable[[], None]) -> SetupOutcome:
    """Return the outcome of `setup`. A cancellation stops it, but a last step that succeeds anyway still counts."""
    task = asyncio.ensure_future(setup)
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            stop()
    return task.result()
