"""Runs the steps of a recipe for one project, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from projectsetup.api.reasons import Reason
from projectsetup.setup.environment import (
    PRIVATE_HOME,
    PRIVATE_TEMPORARY,
    inherited_environment,
    private_paths,
    project_environment,
    secrets_in,
    step_variables,
    trusted_environment,
)
from projectsetup.setup.git import git_access
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.outcome import StepResult, StepSucceeded, TimeLimit, step_outcome, timeout_message
from projectsetup.setup.output import (
    CODE_COMMIT,
    DOCS_COMMIT,
    IGNORED_PREFIX,
    LOGGED_LINES,
    StepOutput,
    StepOutputs,
    read_outputs,
)
from projectsetup.setup.scrub import Scrubber
from projectsetup.setup.types import (
    InfrastructureError,
    Progress,
    SetupFailed,
    SetupOutcome,
    SetupStopped,
    SetupSucceeded,
    StepCommand,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from projectsetup.recipes.model import Recipe, Step
    from projectsetup.setup.credentials import GitCredentials
    from projectsetup.setup.types import ProgressCallback, SetupProject, StepRunner

LineCallback = Callable[[str, str], None]
"""Receives the name of a step and a line that it printed, without secrets."""


async def setup_project(
    project: SetupProject,
    recipe: Recipe,
    callback: ProgressCallback,
    *,
    runner: StepRunner,
    attempt: int,
    parameters: Mapping[str, str],
    time_limit: float,
    operator_environment: Mapping[str, str],
    credentials: GitCredentials | None = None,
    allow_file_repos: bool = False,
    on_line: LineCallback | None = None,
    line_limit: int = LOGGED_LINES,
    log: AttemptLog | None = None,
    traceparents: Mapping[str, str] | None = None,
) -> SetupOutcome:
    """Run the steps of the recipe in order; stop at the first that fails and never retry.

    `callback` is called before each step and after the last. `time_limit` limits the whole attempt, in seconds. Steps
    inherit a few settings from `operator_environment`. `on_line` receives up to `line_limit` lines of each step, `log`
    receives what they print. `traceparents` has the variable TRACEPARENT of each step.

    Raises InfrastructureError when the attempt breaks, and SetupStopped when the runner is stopped before the last step
    has succeeded.
    """
    inherited = inherited_environment(operator_environment)
    scrubber = Scrubber((*(credentials.secrets if credentials else ()), *secrets_in(inherited)))
    log = log or AttemptLog(0)
    log.scrubber = scrubber
    setup = _Setup(
        runner=runner,
        inherited=inherited,
        project_variables=project_environment(project, parameters, attempt=attempt, workspace=runner.workspace),
        repositories=project.repositories,
        credentials=credentials,
        allow_file_repos=allow_file_repos,
        scrubber=scrubber,
        time_limit=time_limit,
        deadline=asyncio.get_running_loop().time() + time_limit,
        on_line=on_line,
        line_limit=line_limit,
        log=log,
        traceparents=traceparents or {},
    )
    facts: dict[str, str] = {}
    total = len(recipe.steps)
    commands = setup.commands(recipe.steps)
    for completed, (step, command) in enumerate(zip(recipe.steps, commands, strict=True)):
        callback(Progress(step.status, step.name, completed, total))
        log.step_began(step.name)
        outcome = await setup.run(step, command, last=completed == total - 1)
        if isinstance(outcome, SetupFailed):
            return outcome
        facts |= outcome.outputs
    callback(Progress(recipe.steps[-1].status, recipe.steps[-1].name, total, total))
    return SetupSucceeded(facts.get(CODE_COMMIT), facts.get(DOCS_COMMIT))


@dataclass(frozen=True, slots=True)
class _Setup:
    runner: StepRunner
    inherited: Mapping[str, str]
    project_variables: Mapping[str, str]
    repositories: tuple[str, ...]
    credentials: GitCredentials | None
    allow_file_repos: bool
    scrubber: Scrubber
    time_limit: float
    deadline: float
    on_line: LineCallback | None
    line_limit: int
    log: AttemptLog
    traceparents: Mapping[str, str]

    def commands(self, steps: Sequence[Step]) -> list[StepCommand]:
        """The commands of the steps; one that has credentials neither follows another at once nor is followed."""
        commands: list[StepCommand] = []
        following: StepCommand | None = None
        for step in reversed(steps):
            command = self._command(step, None if step.credentials else following)
            following = None if step.credentials else command
            commands.append(command)
        return commands[::-1]

    async def run(self, step: Step, command: StepCommand, *, last: bool) -> StepSucceeded | SetupFailed:
        """Run the step and wait for its end. Raises InfrastructureError and SetupStopped."""
        allowed, limit = self._limits(step)
        output = StepOutput(
            self.scrubber,
            retry=step.retry.output,
            on_line=self._line_callback(step),
            line_limit=self.line_limit,
            on_text=partial(self.log.add, step.name) if self.log.limit else None,
        )
        try:
            end = await self.runner.run(replace(command, timeout=allowed), output.feed)
            reported = read_outputs(end.outputs) if end.exit_code == 0 else StepOutputs()
            output.add("".join(f"{IGNORED_PREFIX}{line}\n" for line in reported.ignored))
        finally:
            output.close()
        if end.stopped and not (last and end.exit_code == 0):
            raise SetupStopped(f"stopped during step {step.name}")
        result = StepResult(
            exit_code=end.exit_code,
            signal=end.signal,
            timed_out=end.timed_out,
            oom=end.oom,
            tail=output.tail,
            matched_retry_line=output.matched,
            outputs=reported.facts,
            volume=end.volume,
        )
        outcome = step_outcome(step, result, limit)
        if isinstance(outcome, InfrastructureError):
            raise outcome
        return outcome

    def _limits(self, step: Step) -> tuple[float, TimeLimit]:
        """The seconds that the step may take, and the timeout that they come from."""
        left = self.deadline - asyncio.get_running_loop().time()
        own = step.timeout.total_seconds()
        if left <= 0:
            message = timeout_message(step, TimeLimit(self.time_limit, of_attempt=True))
            raise InfrastructureError(Reason.STEP_TIMED_OUT, message, step=step.name)
        return (own, TimeLimit(own)) if own <= left else (left, TimeLimit(self.time_limit, of_attempt=True))

    def _command(self, step: Step, following: StepCommand | None) -> StepCommand:
        credentials = self.credentials if step.credentials else None
        private = self.runner.private
        access = git_access(self.repositories, credentials, private, allow_file=self.allow_file_repos)
        inherited, paths = self.inherited, {}
        if step.credentials:
            inherited, paths = trusted_environment(inherited, self.runner.workspace), private_paths(private)
        return StepCommand(
            step=step.name,
            script=step.run,
            environment={
                **inherited,
                **step_variables(step, self.traceparents),
                **self.project_variables,
                **paths,
                **access.environment,
            },
            timeout=step.timeout.total_seconds(),
            private_files=access.files,
            private_folders=(PRIVATE_HOME, PRIVATE_TEMPORARY) if step.credentials else (),
            confidential=credentials is not None,
            following=following,
        )

    def _line_callback(self, step: Step) -> Callable[[str], None] | None:
        on_line = self.on_line
        return None if on_line is None else lambda line: on_line(step.name, line)
