"""No process of an attempt outlives its operator, supervisor or warden, whichever of them dies first."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.engines.local.supervisor.protocol import SILENCE_LIMIT
from projectsetup.setup.types import InfrastructureError, StepExit
from tests.support.local_steps import ESCAPING, Operator, Step, operator, until
from tests.support.processes import children, has_ended, living

GONE_AFTER_DEATH = 2.0
GONE_AFTER_FREEZE = 15.0
"""Seconds that the contract allows."""


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return Step(tmp_path, f"{ESCAPING}\nsleep 1000")


@pytest.fixture
async def dying(root: Path, step: Step) -> AsyncIterator[Operator]:
    with operator(root, step) as dying:
        await step.wait_complete()
        yield dying


@pytest.fixture
async def engine(root: Path) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(root, grace=0.5)
    await engine.start()
    yield engine
    await engine.close()
    assert listed(root) == []


def listed(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def supervisor_of(engine: LocalEngine) -> int:
    assert engine.supervisor_pid is not None
    return engine.supervisor_pid


async def run(engine: LocalEngine, step: Step) -> StepExit:
    async with engine.open(uuid4(), 1) as attempt:
        return await attempt.run(step.command, lambda _: None)


async def gone(step: Step, limit: float) -> None:
    await until(lambda: not step.alive, "all processes of the step to be gone", limit=limit)


async def frozen_operator(dying: Operator, step: Step) -> None:
    dying.send(signal.SIGSTOP)
    await gone(step, GONE_AFTER_FREEZE)
    dying.send(signal.SIGCONT)


async def frozen_machine(dying: Operator, step: Step) -> None:
    """The supervisor is frozen too, and the operator wakes up first."""
    dying.send(signal.SIGSTOP)
    os.kill(dying.supervisor, signal.SIGSTOP)
    begin = time.monotonic()
    await until(lambda: time.monotonic() - begin > SILENCE_LIMIT + 0.1, "the silence limit to pass")
    assert step.alive
    dying.send(signal.SIGCONT)
    os.kill(dying.supervisor, signal.SIGCONT)
    await gone(step, GONE_AFTER_DEATH)


async def test_all_steps_are_gone_after_the_operator_freezes(
    dying: Operator, step: Step, root: Path, tmp_path: Path
) -> None:
    other_step = Step(tmp_path, f"{ESCAPING}\nsleep 1000")
    with operator(root, other_step) as other:
        await other_step.wait_ready()
        await asyncio.gather(frozen_operator(dying, step), frozen_machine(other, other_step))
        for woken in (dying, other):
            assert woken.process.communicate()[0].splitlines() == ["Interrupted"]
            assert woken.process.returncode == 0
    assert not dying.directories


async def test_supervisor_and_wardens_ignore_termination_signals(dying: Operator, step: Step) -> None:
    before = step.alive
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(dying.supervisor, number)
        for warden in dying.wardens:
            os.kill(warden, number)
    dying.send(signal.SIGSTOP)
    dying.send(signal.SIGCONT)
    assert step.alive == before


async def test_the_steps_of_a_killed_supervisor_end_with_it(engine: LocalEngine, step: Step) -> None:
    running = asyncio.create_task(run(engine, step))
    await step.wait_ready()
    killed = supervisor_of(engine)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(InfrastructureError, match="its supervisor died") as caught:
        await running
    assert caught.value.reason is Reason.INTERRUPTED
    assert not step.alive
    assert supervisor_of(engine) != killed


async def test_the_next_attempt_runs_under_a_new_supervisor(engine: LocalEngine, tmp_path: Path) -> None:
    killed = supervisor_of(engine)
    os.kill(killed, signal.SIGKILL)
    await until(lambda: has_ended(killed), "it to end")
    with contextlib.suppress(InfrastructureError):  # the engine may not have noticed yet
        await run(engine, Step(tmp_path, "exit 2"))
    assert await run(engine, Step(tmp_path, "exit 3")) == StepExit(exit_code=3)


async def test_an_attempt_does_not_continue_under_a_new_supervisor(engine: LocalEngine, tmp_path: Path) -> None:
    async with engine.open(uuid4(), 1) as attempt:
        first = Step(tmp_path, "true")
        assert await attempt.run(first.command, lambda _: None) == StepExit(exit_code=0)
        os.kill(supervisor_of(engine), signal.SIGKILL)
        with pytest.raises(InfrastructureError):
            await attempt.run(Step(tmp_path, "sleep 0.5").command, lambda _: None)
        with pytest.raises(InfrastructureError):
            await attempt.run(first.command, lambda _: None)


async def test_a_frozen_supervisor_does_not_keep_steps_alive(engine: LocalEngine, step: Step) -> None:
    running = asyncio.create_task(run(engine, step))
    await step.wait_ready()
    os.kill(supervisor_of(engine), signal.SIGSTOP)
    await engine.kill_all()
    assert not step.alive
    with pytest.raises(InfrastructureError):
        await running


async def test_the_step_of_a_killed_warden_ends_with_it(engine: LocalEngine, step: Step, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    other = Step(tmp_path, f'touch "$READY"; read line < {fifo}; exit 5')
    unharmed = asyncio.create_task(run(engine, other))
    await other.wait_ready()
    others = children(supervisor_of(engine))
    running = asyncio.create_task(run(engine, step))
    await step.wait_ready()
    (warden,) = children(supervisor_of(engine)) - others
    os.kill(warden, signal.SIGKILL)
    with pytest.raises(InfrastructureError) as caught:
        await running
    assert caught.value.reason is Reason.INTERRUPTED
    assert not step.alive
    fifo.write_text("continue\n")
    assert await unharmed == StepExit(exit_code=5)


def kill_all_except_the_steps(dying: Operator) -> None:
    """Kill all of the operator's own processes at once."""
    victims = [dying.process.pid, dying.supervisor, *dying.wardens]
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)


async def test_the_next_operator_kills_what_a_dead_one_left(dying: Operator, step: Step, root: Path) -> None:
    kill_all_except_the_steps(dying)
    await until(lambda: has_ended(dying.supervisor), "the supervisor to end")
    assert step.alive, "the daemons of the step outlive every process that could kill them"
    assert dying.directories
    engine = LocalEngine(root)
    await engine.start()
    try:
        assert not step.alive
        await until(lambda: len(dying.directories) == 1, "the old workspaces to be removed")
    finally:
        await engine.close()
    assert not dying.directories


async def test_the_next_operator_kills_a_stopped_warden(dying: Operator, step: Step, root: Path) -> None:
    (warden,) = dying.wardens
    os.kill(warden, signal.SIGSTOP)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (dying.process.pid, dying.supervisor):
            os.kill(pid, number)
    await until(lambda: not children(dying.supervisor), "the supervisor to end")
    assert step.alive
    engine = LocalEngine(root)
    await engine.start()
    assert not step.alive
    assert warden not in living(str(root))
    await engine.close()
    assert not dying.directories


async def test_another_live_operator_is_not_affected(dying: Operator, step: Step, root: Path, tmp_path: Path) -> None:
    other = Step(tmp_path, f"{ESCAPING}\nsleep 1000")
    with operator(root, other) as live:
        await other.wait_complete()
        before, directories = other.alive, len(live.directories)
        kill_all_except_the_steps(dying)
        engine = LocalEngine(root)
        await engine.start()
        await until(lambda: len(live.directories) == directories, "the dead operator's workspaces to be removed")
        await engine.close()
        assert not step.alive
        assert other.alive == before
        assert len(live.directories) == directories - 1


async def test_only_workspaces_of_supervisors_are_removed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "lock").touch()
    (root / "projectsetup-link").symlink_to(outside)
    (root / "projectsetup-file").touch()
    (root / "projectsetup-mine").mkdir()
    (root / "other").mkdir()
    (root / "other" / "lock").touch()
    before = listed(root)
    engine = LocalEngine(root)
    await engine.start()
    await engine.close()
    assert listed(root) == before
    assert listed(outside) == [outside / "lock"]


@pytest.fixture
def abandoned(root: Path) -> Iterator[Path]:
    """The directory of an operator that died while its workspaces were removed."""
    directory = root / "projectsetup-0123456789"
    (directory / "1-1" / "workspace" / "deep").mkdir(parents=True)
    (directory / "1-1" / "workspace" / "deep").chmod(0o500)
    (directory / "lock").touch()
    yield directory
    assert not directory.exists()


async def test_workspaces_without_processes_are_removed(root: Path, abandoned: Path) -> None:
    engine = LocalEngine(root)
    await engine.start()
    await until(lambda: not abandoned.exists(), "the old workspace to be removed")
    await engine.close()
