"""What `recipes try` does: one attempt of a recipe on this machine, without a cluster or database."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import typer
from rich.console import Console
from rich.text import Text

from projectsetup.api.reasons import Reason
from projectsetup.api.spec import ProjectSetupSpec
from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.names import titled
from projectsetup.cli.output import OutputClosed, one_line, printable, say, write, write_text
from projectsetup.cli.status import running_line
from projectsetup.cli.tables import step_times, table
from projectsetup.engines.base import AttemptSpec
from projectsetup.engines.local.engine import GRACE, LocalEngine
from projectsetup.projects.model import slug_of
from projectsetup.projects.validation import check_name
from projectsetup.recipes.model import Recipe
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.types import (
    InfrastructureError,
    Progress,
    SetupFailed,
    SetupOutcome,
    SetupProject,
    SetupStopped,
    SetupSucceeded,
)
from projectsetup.text import without_harm

NAMESPACE: Final = "recipes-try"
"""Stands for the namespace of the ProjectSetup: all trials share its package caches."""
ATTEMPT: Final = "1/1"
SIGNAL_BASE: Final = 128
"""A program that signal n ended exits with 128 + n."""
SHORT_COMMIT: Final = 12
REPOSITORIES: Final = ("code", "docs")


class Pushed(NamedTuple):
    """A branch or tag that was pushed: its commit, how many files that has, and the first line of its message."""

    repository: str
    branch: str
    commit: str
    files: int
    subject: str


@dataclass(slots=True)
class Trial:
    """One attempt of a recipe in `folder`, which holds its workspace and its two bare repositories."""

    recipe: Recipe
    parameters: Mapping[str, str]
    project_name: str
    folder: Path
    stop: Callable[[], object]
    """Cancels `run`."""
    repositories: tuple[str, ...]
    """Those of the project."""
    keep: bool
    """Whether the workspace stays."""
    log: AttemptLog = field(default_factory=lambda: AttemptLog(0))
    output_closed: bool = False
    """Nobody reads the output any more (`| head`)."""

    async def run(self) -> None:
        """Run the attempt and print its outcome; CommandError unless it succeeds."""
        for name in self.repositories:
            await _git("init", "--bare", "--quiet", "--initial-branch=main", str(self._repository(name)))
        kept = self.folder / "workspace" if self.keep else None
        engine = LocalEngine(self.folder, allow_file_repos=True, on_line=self._print, keep_workspace=kept)
        try:
            outcome = await self._attempt(engine)
        finally:
            await engine.close()
            if kept is not None and engine.kept_from is not None:
                _move_back(kept, engine.kept_from)
        self.log.close()
        await self._report(outcome)

    async def _attempt(self, engine: LocalEngine) -> SetupOutcome | InfrastructureError:
        try:
            await engine.start()
        except InfrastructureError as error:
            raise CommandError(f"steps cannot run below {tempfile.gettempdir()} (TMPDIR): {error}") from error
        project = self._project()
        attempt = AttemptSpec(
            namespace=NAMESPACE,
            name=str(project.id),
            uid=str(project.id),
            project=project,
            recipe=self.recipe,
            parameters=self.parameters,
            number=1,
            fence=1,
            run_name=f"try-{project.id}",
            timeout=ProjectSetupSpec().timeout.total_seconds(),
        )
        try:
            return await engine.run(attempt, self._progressed, asyncio.Event(), self.log)
        except InfrastructureError as error:
            return error

    def _project(self) -> SetupProject:
        """The same name gives the same project, and so the same commits."""
        project_id = uuid5(NAMESPACE_URL, self.project_name)
        return SetupProject(
            id=project_id,
            name=self.project_name,
            slug=slug_of(self.project_name, project_id),
            description=f"A trial of recipe {self.recipe.name}",
            code_repo=self._repository("code").as_uri(),
            docs_repo=self._repository("docs").as_uri() if "docs" in self.repositories else None,
        )

    def _repository(self, name: str) -> Path:
        return self.folder / f"{name}.git"

    def _progressed(self, progress: Progress) -> None:
        line = running_line(progress.project_status, progress.step, str(progress), ATTEMPT)
        Console(stderr=True, highlight=False).print(
            Text(printable(f"{self.project_name}: {line}"), style="bold"), soft_wrap=True
        )

    def _print(self, _step: str, line: str) -> None:
        if self.output_closed:
            return
        try:
            write(without_harm(line.expandtabs()))
        except OutputClosed:
            self.output_closed = True
            self.stop()

    async def _report(self, outcome: SetupOutcome | InfrastructureError) -> None:
        pushed = [each for name in self.repositories for each in await self._pushed(name)]
        title = titled(self.project_name, self._project().id)
        say(f"steps: {step_times(self.log.steps)}")
        match outcome:
            case SetupSucceeded():
                write(f"project {title} is ready: the project was set up in attempt 1")
                _show(pushed)
                for name, commit in zip(REPOSITORIES, (outcome.code_commit, outcome.docs_commit), strict=True):
                    _check_reported(name, commit, {each.commit for each in pushed if each.repository == name})
                return
            case SetupFailed():
                reason = Reason.STEP_FAILED
            case InfrastructureError():
                reason = outcome.reason
                say("this failure is retryable: the operator would start another attempt")
        _show(pushed)
        raise CommandError(f"setup of project {title} failed: {reason}: {outcome.message}", ExitCode.FAILED)

    async def _pushed(self, name: str) -> list[Pushed]:
        repository = f"--git-dir={self._repository(name)}"
        form = "--format=%(refname:short)%00%(objectname)%00%(contents:subject)"
        try:
            refs = await _git(repository, "for-each-ref", form)
        except CommandError:
            say(f"warning: a step removed or damaged the {name} repository; nothing more can be said of it")
            return []
        found = []
        for ref in refs.splitlines():
            branch, commit, subject = ref.split("\0")
            files = (await _git(repository, "ls-tree", "-r", "-z", "--name-only", commit)).count("\0")
            found.append(Pushed(name, branch, commit, files, subject))
        return found


def _move_back(kept: Path, original: Path) -> None:
    """Programs in the workspace, such as those of a virtual environment, contain its path."""
    original.parent.mkdir(parents=True)
    kept.rename(original)
    kept.symlink_to(original)


def _show(pushed: Sequence[Pushed]) -> None:
    if not pushed:
        say("nothing was pushed")
        return
    rows = [each._replace(commit=each.commit[:SHORT_COMMIT]) for each in pushed]
    write_text(table(("REPOSITORY", "BRANCH", "COMMIT", "FILES", "SUBJECT"), rows))


def _check_reported(repository: str, reported: str | None, pushed: Collection[str]) -> None:
    """Warn if `.status.commits` would not name what was pushed to the repository."""
    variable = f"{repository.upper()}_COMMIT"
    if reported is None and pushed:
        say(f"warning: no step wrote {variable}=… to $STEP_OUTPUTS, so .status.commits would lack this commit")
    elif reported is not None and reported not in pushed:
        say(f"warning: a step wrote {variable}={reported} to $STEP_OUTPUTS, but no step pushed it to {repository}")


async def try_recipe(
    recipe: Recipe, given: Mapping[str, str], project_name: str, *, docs_repo: bool, keep: bool
) -> None:
    """Run a recipe once and print its outcome; CommandError unless it succeeds.

    `docs_repo`: whether the project has a documentation repository.

    SIGINT, SIGTERM and SIGHUP stop its processes and exit with 128 and the signal's number. With `keep`, workspace and
    repositories stay.
    """
    parameters, name = recipe.check_parameters(given), check_name(project_name)
    if shutil.which("git") is None:
        raise CommandError("git is not installed; recipes try keeps the two repositories with it")
    images = dict.fromkeys(recipe.image_of(step) for step in recipe.steps)
    say(f"recipes try runs all steps on this machine and does not use images ({printable(', '.join(images))})")
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("only a task can be stopped by a signal")
    folder = Path(tempfile.mkdtemp(prefix="projectsetup-try-"))
    repositories = REPOSITORIES if docs_repo else REPOSITORIES[:1]
    trial = Trial(recipe, parameters, name, folder, task.cancel, repositories, keep)
    with _warnings(), _signals(trial.stop) as received:
        try:
            await trial.run()
        except (asyncio.CancelledError, SetupStopped):
            if trial.output_closed:
                raise OutputClosed from None
            if not received:
                raise
            say("stopped; all its processes have ended")
            raise typer.Exit(SIGNAL_BASE + received[0]) from None
        finally:
            if keep:
                say(f"kept in {folder}: workspace, {' and '.join(f'{each}.git' for each in repositories)}")
            else:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@contextmanager
def _signals(stop: Callable[[], object]) -> Iterator[list[int]]:
    """Call `stop` for each signal that asks this program to end; yields those that were received."""
    loop = asyncio.get_running_loop()
    received: list[int] = []

    def on_signal(number: int) -> None:
        if not received:
            say(f"stopping; the step has {GRACE:.0f} s to end")
        received.append(number)
        stop()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield received
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(one_line(f"warning: {record.getMessage()}"))


@contextmanager
def _warnings() -> Iterator[None]:
    """Show the warnings of the engine, such as that this kernel has no Landlock."""
    log, handler = logging.getLogger("projectsetup.engine"), _Warnings(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


async def _git(*arguments: str) -> str:
    """The output of git; CommandError if it fails."""
    command = ["git", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
