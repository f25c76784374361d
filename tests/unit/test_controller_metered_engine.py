"""How long the attempts and steps of an engine take, as the metrics show it."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.controller.metrics import MeteredEngine
from projectsetup.engines.base import Adoption, AttemptSpec, FindRun, LeftRunning
from projectsetup.observe.metrics import Metrics
from projectsetup.recipes.model import Recipe
from projectsetup.setup.log import AttemptLog
from projectsetup.setup.types import (
    InfrastructureError,
    Progress,
    ProgressCallback,
    SetupFailed,
    SetupOutcome,
    SetupStopped,
    SetupSucceeded,
)
from tests.support.job_attempts import make_recipe

STEPS: Final = ("fetch", "build", "push")
RECIPE: Final = make_recipe(*({"name": name} for name in STEPS), name="three")


@dataclass
class Script:
    """An engine that reports these steps, each some seconds after the previous one, and then ends as given."""

    steps: list[tuple[int, float]]
    end: SetupSucceeded | SetupFailed | Exception
    now: float = 0.0
    progress: list[int] = field(default_factory=list)
    name: str = "script"
    outlives_operator: bool = False
    needs_credentials: bool = False

    async def run(
        self, _attempt: AttemptSpec | Adoption, on_progress: ProgressCallback, _leave: asyncio.Event, _log: AttemptLog
    ) -> SetupOutcome:
        for completed, after in self.steps:
            self.now += after
            on_progress(Progress("compiling", STEPS[completed], completed, len(STEPS)))
        self.now += 1.0
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def digest(self, _recipe: Recipe, timeout: float) -> str:
        return f"of {timeout}"

    async def kill_all(self) -> None:
        raise AssertionError("not used here")

    async def collect_garbage(self, _look_up: FindRun) -> None:
        raise AssertionError("not used here")


async def measured(script: Script, attempt: Any) -> dict[str, float]:
    """The measured seconds, by step and by outcome of the attempt."""
    metrics = Metrics()
    engine = MeteredEngine(script, metrics, lambda: script.now)
    expected: AbstractContextManager[object] = (
        pytest.raises(type(script.end)) if isinstance(script.end, Exception) else nullcontext()
    )
    with expected:
        assert (
            await engine.run(attempt, lambda p: script.progress.append(p.completed), asyncio.Event(), AttemptLog(0))
            is script.end
        )
    assert script.progress == [completed for completed, _ in script.steps]
    sums = re.findall(r'_sum{(?:outcome="(\w+)",)?recipe="three"(?:,step="(\w+)")?} (\S+)', metrics.render().decode())
    return {outcome or step: float(seconds) for outcome, step, seconds in sums}


@dataclass
class Attempt:
    """What the metered engine reads of an attempt."""

    recipe: Recipe = RECIPE


ALL: Final = [(0, 0.0), (1, 2.0), (2, 3.0)]


@pytest.mark.parametrize(
    ("steps", "end", "expected"),
    [
        (ALL, SetupSucceeded(), {"fetch": 2, "build": 3, "push": 1, "Succeeded": 6}),
        (ALL[:2], SetupFailed("build", 1, ""), {"fetch": 2, "build": 1, "Failed": 3}),
        (
            ALL[:2],
            InfrastructureError(Reason.STEP_KILLED, "", step="build"),
            {"fetch": 2, "build": 1, "Failed": 3},
        ),
        (ALL[:1], InfrastructureError(Reason.ENGINE_ERROR, ""), {"Failed": 1}),
        ([(0, 0.0), (2, 5.0)], SetupSucceeded(), {"push": 1, "Succeeded": 6}),
        ([], SetupSucceeded(), {"Succeeded": 1}),
        (ALL[:2], SetupStopped(), {"fetch": 2}),
        (ALL[:2], LeftRunning(), {"fetch": 2}),
    ],
    ids=["succeeds", "fails", "breaks", "broke before", "missed a quick step", "missed all steps", "stopped", "left"],
)
async def test_attempts_that_end_by_themselves_are_measured(steps: Any, end: Any, expected: dict[str, float]) -> None:
    assert await measured(Script(steps, end), Attempt()) == expected


async def test_adopted_attempts_are_not_measured() -> None:
    adoption = Adoption("ns", "name", "uid", UUID(int=1), 1, 1, "run", "digest")
    assert await measured(Script(ALL, SetupSucceeded()), adoption) == {}
