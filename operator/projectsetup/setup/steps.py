"""The setup of one project: the steps of its recipe, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.api.reasons import Reason
from projectsetup.setup.environment import (
    PRIVATE_HOME,
    PRIVATE_TEMPORARY,
    inherited_environment,
    private_paths,
    project_environment,
    secrets_in,
    trusted_environment,
)
from projectsetup.setup.errors import InfrastructureError, SetupStopped
from projectsetup.setup.git import git_access
from projectsetup.setup.judge import StepDone, StepResult, TimeLimit, judge, too_late
from projectsetup.setup.outcome import SetupFailed, SetupOutcome, SetupSucceeded
from projectsetup.setup.output import StepOutput
from projectsetup.setup.outputs import CODE_COMMIT, DOCS_COMMIT, IGNORED, StepOutputs, read_outputs
from projectsetup.setup.runner import StepCommand
from projectsetup.setup.scrub import Scrubber
from projectsetup.setup.updates import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from projectsetup.recipes.model import Recipe, Step
    from projectsetup.setup.credentials import GitCredentials
    from projectsetup.setup.project import SetupProject
    from projectsetup.setup.runner import StepRunner
    from projectsetup.setup.updates import ProgressCallback

LineCallback = Callable[[str, str], None]
"""Given the name of a step and a line that it printed, without secrets."""


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
) -> SetupOutcome:
    """Run all steps of the recipe; stop at the first that fails and never retry.

    `callback` is called before each step and after the last one. `time_limit` is that of the whole attempt, in seconds.
    `operator_environment` is where the few settings come from that steps share with the operator.

    Raises InfrastructureError when the attempt broke, and SetupStopped when the runner was asked to stop before the
    last step had succeeded.
    """
    inherited = inherited_environment(operator_environment)
    setup = _Setup(
        runner=runner,
        inherited=inherited,
        told=project_environment(project, parameters, attempt=attempt, workspace=runner.workspace),
        repositories=project.repositories,
        credentials=credentials,
        allow_file_repos=allow_file_repos,
        scrubber=Scrubber((*(credentials.secrets if credentials else ()), *secrets_in(inherited))),
        time_limit=time_limit,
        deadline=asyncio.get_running_loop().time() + time_limit,
        on_line=on_line,
    )
    facts: dict[str, str] = {}
    total = len(recipe.steps)
    for completed, step in enumerate(recipe.steps):
        callback(Progress(step.status, step.name, completed, total))
        verdict = await setup.run(step, last=completed == total - 1)
        if isinstance(verdict, SetupFailed):
            return verdict
        facts |= verdict.outputs
    callback(Progress(recipe.steps[-1].status, recipe.steps[-1].name, total, total))
    return SetupSucceeded(facts.get(CODE_COMMIT), facts.get(DOCS_COMMIT))


@dataclass(frozen=True, slots=True)
class _Setup:
    runner: StepRunner
    inherited: Mapping[str, str]
    told: Mapping[str, str]
    repositories: tuple[str, ...]
    credentials: GitCredentials | None
    allow_file_repos: bool
    scrubber: Scrubber
    time_limit: float
    deadline: float
    on_line: LineCallback | None

    async def run(self, step: Step, *, last: bool) -> StepDone | SetupFailed:
        allowed, limit = self._limits(step)
        output = StepOutput(self.scrubber, retry=step.retry.output, on_line=self._line_callback(step))
        try:
            end = await self.runner.run(self._command(step, allowed), output.feed)
            told = read_outputs(end.outputs) if end.exit_code == 0 else StepOutputs()
            output.add("".join(f"{IGNORED}{line}\n" for line in told.ignored))
        finally:
            output.close()
        if end.stopped and not (last and end.exit_code == 0):
            raise SetupStopped(f"stopped while step {step.name} ran")
        result = StepResult(
            exit_code=end.exit_code,
            signal=end.signal,
            timed_out=end.timed_out,
            oom=end.oom,
            tail=output.tail,
            matched_retry_line=output.matched,
            outputs=told.facts,
            volume=end.volume,
        )
        verdict = judge(step, result, limit)
        if isinstance(verdict, InfrastructureError):
            raise verdict
        return verdict

    def _limits(self, step: Step) -> tuple[float, TimeLimit]:
        """The seconds that the step may take, and which timeout that comes from."""
        left = self.deadline - asyncio.get_running_loop().time()
        own = step.timeout.total_seconds()
        if left <= 0:
            message = too_late(step, TimeLimit(self.time_limit, of_attempt=True))
            raise InfrastructureError(Reason.STEP_TIMED_OUT, message, step=step.name)
        return (own, TimeLimit(own)) if own <= left else (left, TimeLimit(self.time_limit, of_attempt=True))

    def _command(self, step: Step, timeout: float) -> StepCommand:
        credentials = self.credentials if step.credentials else None
        private = self.runner.private
        access = git_access(self.repositories, credentials, private, allow_file=self.allow_file_repos)
        inherited, places = self.inherited, {}
        if step.credentials:
            inherited, places = trusted_environment(inherited, self.runner.workspace), private_paths(private)
        return StepCommand(
            step=step.name,
            script=step.run,
            environment={**inherited, **step.env, **self.told, **places, **access.environment},
            timeout=timeout,
            private_files=access.files,
            private_folders=(PRIVATE_HOME, PRIVATE_TEMPORARY) if step.credentials else (),
            confidential=credentials is not None,
        )

    def _line_callback(self, step: Step) -> Callable[[str], None] | None:
        on_line = self.on_line
        return None if on_line is None else lambda line: on_line(step.name, line)
