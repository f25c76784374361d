"""The local engine: runs attempts as processes under a supervisor that kills them when the operator dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Collection
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from projectsetup.api.reasons import Reason
from projectsetup.engines.base import Adoption, AttemptSpec, FindRun
from projectsetup.engines.local.attempt import FileAccess, LocalAttempt
from projectsetup.engines.local.operations import shield, wait_for_end
from projectsetup.engines.local.supervisor_client import SupervisorClient, SupervisorNotStarted
from projectsetup.engines.local.workspace import AttemptDirectory, check_workspace_root
from projectsetup.setup.environment import NO_CACHES, PackageCaches, package_caches
from projectsetup.setup.output import LOGGED_LINES
from projectsetup.setup.steps import LineCallback, setup_project
from projectsetup.setup.types import InfrastructureError

if TYPE_CHECKING:
    from uuid import UUID

    from projectsetup.recipes.model import Recipe
    from projectsetup.setup.log import AttemptLog
    from projectsetup.setup.types import Progress, ProgressCallback, SetupOutcome

GRACE: Final = 10.0
"""Seconds between SIGTERM and SIGKILL when a step is stopped."""

_log = logging.getLogger("projectsetup.engine")
_step_log = logging.getLogger("projectsetup.steps")


class LocalEngine:
    """Runs attempts as processes. Whatever happens to the operator, they are killed within seconds of its end.

    If the supervisor dies, its attempts are `Interrupted`, and the engine starts another for the next attempt.
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
        on_line: LineCallback | None = None,
        keep_workspace: Path | None = None,
    ) -> None:
        """`workspace_root`: an existing directory; several operators on one machine may share it.

        With Landlock, steps cannot inspect processes outside the step. `hidden`: files and directories that steps
        cannot access either, in addition to other attempts' files and other namespaces' package caches; with None,
        steps can access all files that their user can. `on_line` receives all that steps print; by default, the
        log does, up to LOGGED_LINES of each step.
        `keep_workspace`: where to move the workspace of an attempt that has ended, on the same file system; there must
        not be anything yet. `kept_from` is then the path that it had, which programs in it may contain.
        """
        self._on_line = on_line or _log_line
        self._line_limit = LOGGED_LINES if on_line is None else sys.maxsize
        self.kept_from: Path | None = None
        self._keep_workspace = keep_workspace
        self._root = workspace_root.resolve()
        self._hidden = None if hidden is None else tuple(path.absolute() for path in hidden)
        self._allow_file_repos = allow_file_repos
        self._grace = grace
        self._supervisor: SupervisorClient | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self._numbers = count(1)

    @property
    def supervisor_pid(self) -> int | None:
        """The process id of the supervisor, None before the start."""
        return self._supervisor.pid if self._supervisor is not None else None

    async def start(self) -> None:
        """Start the supervisor, which cleans up after dead operators.

        Raises InfrastructureError, also when programs cannot run below the workspace root.
        """
        await check_workspace_root(self._root)
        await self._running_supervisor()

    async def close(self) -> None:
        """Kill everything that still runs, remove all workspaces, and end the supervisor."""
        self._closed = True
        if self._supervisor is not None:
            await shield(self._supervisor.close())

    def digest(self, _recipe: Recipe, _timeout: float) -> None:
        """See `Engine`: nothing is adopted."""

    async def run(
        self, attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, _leave: asyncio.Event, log: AttemptLog
    ) -> SetupOutcome:
        """Run one attempt; see `Engine`."""
        if isinstance(attempt, Adoption):
            raise TypeError("local attempts end with their operator and cannot be adopted")

        def step_begun(progress: Progress) -> None:
            if progress.completed < progress.total:  # the outcome reports that the last step is done
                on_progress(progress)

        caches = package_caches(os.environ, attempt.namespace)
        async with self.open(attempt.project_id, attempt.number, caches) as runner:
            coroutine = setup_project(
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
                on_line=self._on_line,
                line_limit=self._line_limit,
                log=log,
                traceparents=attempt.traceparents,
            )
            setup = asyncio.ensure_future(coroutine)
            await wait_for_end(setup, on_cancel=runner.stop)
            if self._keep_workspace is not None:
                with contextlib.suppress(FileNotFoundError):  # a step removed it
                    runner.workspace.rename(self._keep_workspace)
                    self.kept_from = runner.workspace
            return setup.result()  # a last step that succeeds despite the cancellation counts

    async def collect_garbage(self, find_run: FindRun) -> None:
        """Do nothing: no run outlives its operator."""

    @contextlib.asynccontextmanager
    async def open(
        self, project_id: UUID, number: int, caches: PackageCaches = NO_CACHES
    ) -> AsyncIterator[LocalAttempt]:
        """The runner of one attempt with a fresh workspace, which is always removed at the end.

        Below the roots of `caches`, its steps can access only their own caches. Raises InfrastructureError.
        """
        supervisor = await self._running_supervisor()
        name = f"{str(project_id)[:8]}-{number}-{next(self._numbers)}"
        directory = AttemptDirectory(supervisor.directory / name)
        try:
            try:
                directory.make()
            except OSError as exc:
                message = f"cannot create a workspace: {exc.strerror}"
                raise InfrastructureError(Reason.ENGINE_ERROR, message) from exc
            try:
                caches.make()
            except OSError as exc:
                message = f"cannot create the package cache {exc.filename}: {exc.strerror}"
                raise InfrastructureError(Reason.ENGINE_ERROR, message) from exc
            hidden = None if self._hidden is None else (*self._hidden, *caches.roots)
            access = FileAccess(hidden, visible=caches.own.values())
            attempt = LocalAttempt(supervisor, directory, access=access, grace=self._grace, on_loss=self._replace_lost)
            try:
                yield attempt
            finally:
                await shield(attempt.close())
        finally:
            await shield(self._remove(supervisor, name))

    async def kill_all(self) -> None:
        """Send SIGKILL to every process of every attempt and wait for their end; running steps are `Interrupted`."""
        if self._supervisor is None:
            return
        await shield(self._supervisor.kill_all())
        if self._supervisor.lost.is_set():
            with contextlib.suppress(InfrastructureError):
                await shield(self._replace_lost())

    async def _running_supervisor(self) -> SupervisorClient:
        """The supervisor, or a new one if it is lost, which first kills what the lost one left."""
        async with self._starting:
            if self._closed:
                raise InfrastructureError(Reason.ENGINE_ERROR, "the engine is closed")
            current = self._supervisor
            if current is not None and not current.lost.is_set() and not current.directory.is_dir():
                _log.warning("the directory of the supervisor was removed; stopping its attempts")
                await shield(current.close())
            if current is None or current.lost.is_set():
                if current is not None:
                    _log.warning("the supervisor ended; starting another")
                    await current.wait_ended()
                current = self._supervisor = await self._start_supervisor()
            return current

    async def _start_supervisor(self) -> SupervisorClient:
        try:
            supervisor = await SupervisorClient.start(self._root)
        except SupervisorNotStarted as exc:
            raise InfrastructureError(Reason.ENGINE_ERROR, str(exc)) from exc
        processes, directories = supervisor.leftovers
        if not supervisor.confines:
            _log.warning("this kernel has no Landlock: steps can inspect other processes of this user")
        if directories:
            _log.warning("cleaned up after %d dead operators: killed %d processes", directories, processes)
        return supervisor

    async def _replace_lost(self) -> None:
        """Wait until nothing that a lost supervisor started is alive: the next one kills it at its start.

        If the engine is closed, the lost supervisor does so itself.
        """
        if not self._closed:
            await self._running_supervisor()

    async def _remove(self, supervisor: SupervisorClient, name: str) -> None:
        try:
            operation = supervisor.remove(name)
            lost = await operation.end()
        except OSError as error:
            _log.warning("cannot remove workspace %s: %s", name, error.strerror)
            return
        if lost:
            with contextlib.suppress(InfrastructureError):
                await self._replace_lost()
        elif (result := operation.next_result()) is not None:
            _log.warning("cannot remove workspace %s: %s", name, result["error"])


def _log_line(step: str, line: str) -> None:
    _step_log.info("%s", line, extra={"step": step})
