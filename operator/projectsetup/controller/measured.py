"""An engine whose attempts and steps are timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from projectsetup.api.reasons import AttemptOutcome
from projectsetup.engines.base import Adoption, AttemptSpec, Engine, FindRun
from projectsetup.observe.metrics import Metrics
from projectsetup.recipes.model import Recipe
from projectsetup.setup.errors import InfrastructureError, NotStarted
from projectsetup.setup.outcome import SetupOutcome, SetupSucceeded
from projectsetup.setup.updates import Progress, ProgressCallback


class MeasuredEngine:
    """Runs attempts on another engine, and tells how long they and their steps took.

    What was stopped, or was begun by another operator, is not told: its time says nothing of the recipe.
    """

    def __init__(self, engine: Engine, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self.name = engine.name
        self.outlives_operator = engine.outlives_operator
        self.needs_credentials = engine.needs_credentials

    def digest(self, recipe: Recipe, timeout: float) -> str | None:
        """See `Engine`."""
        return self._engine.digest(recipe, timeout)

    async def run(
        self, attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, leave: asyncio.Event
    ) -> SetupOutcome:
        """See `Engine`."""
        if isinstance(attempt, Adoption):
            return await self._engine.run(attempt, on_progress, leave)
        times = _Times(attempt.recipe, self._metrics, self._clock)

        def moved(progress: Progress) -> None:
            times.moved(progress.completed)
            on_progress(progress)

        try:
            outcome = await self._engine.run(attempt, moved, leave)
        except NotStarted:
            raise
        except InfrastructureError as error:
            times.over(AttemptOutcome.FAILED, error.step)
            raise
        if isinstance(outcome, SetupSucceeded):
            times.over(AttemptOutcome.SUCCEEDED, attempt.recipe.steps[-1].name)
        else:
            times.over(AttemptOutcome.FAILED, outcome.step)
        return outcome

    async def kill_all(self) -> None:
        """See `Engine`."""
        await self._engine.kill_all()

    async def collect_garbage(self, find_run: FindRun) -> None:
        """See `Engine`."""
        await self._engine.collect_garbage(find_run)


class _Times:
    """The clock of one attempt. A step whose begin or end was not seen has no time: Jobs tell of steps that last."""

    def __init__(self, recipe: Recipe, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._recipe = recipe
        self._metrics = metrics
        self._clock = clock
        self._began = self._step_began = clock()
        self._completed = 0

    def moved(self, completed: int) -> None:
        if completed == self._completed:
            return
        now = self._clock()
        if completed == self._completed + 1:
            self._tell(now)
        self._completed, self._step_began = completed, now

    def over(self, outcome: AttemptOutcome, step: str | None) -> None:
        now = self._clock()
        if step == self._recipe.steps[self._completed].name:
            self._tell(now)
        self._metrics.attempt_took(self._recipe.name, outcome, now - self._began)

    def _tell(self, now: float) -> None:
        step = self._recipe.steps[self._completed]
        self._metrics.step_took(self._recipe.name, step.name, now - self._step_began)
