"""What it costs to run a step that does nothing, beside the simplest ways to do so."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

from benchmarks.measure import Figure, show
from projectsetup.engines.contract import AttemptRef
from projectsetup.engines.local import LocalEngine
from projectsetup.setup.runner import StepCommand

ROUNDS = 5
STEPS = 60
SCRIPT = ":"
IN_PYTHON = f"import subprocess; subprocess.run(['sh', '-euc', {SCRIPT!r}], check=True)"


async def measure() -> None:
    """Run every contender in turn, several rounds, and show milliseconds a step."""
    with tempfile.TemporaryDirectory() as folder:
        engine = LocalEngine(Path(folder))
        await engine.start()
        try:
            figures = await _rounds(
                {
                    "local engine, a workspace an attempt": lambda: _attempt(engine),
                    "sh alone, unsupervised": lambda: _process("sh", "-euc", SCRIPT),
                    "a fresh Python interpreter an attempt": lambda: _process(sys.executable, "-c", IN_PYTHON),
                }
            )
        finally:
            await engine.close()
    show("One attempt of one step that does nothing", "ms", figures)


async def _rounds(contenders: dict[str, Callable[[], Awaitable[None]]]) -> list[Figure]:
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, contender in contenders.items():
            began = time.perf_counter()
            for _ in range(STEPS):
                await contender()
            rounds[name].append((time.perf_counter() - began) / STEPS * 1000)
    return [Figure(name, values) for name, values in rounds.items()]


async def _attempt(engine: LocalEngine) -> None:
    async with engine.open(AttemptRef("benchmark", uuid4(), 1, 1)) as runner:
        command = StepCommand("nothing", SCRIPT, {"PATH": "/usr/bin:/bin"}, timeout=60.0)
        end = await runner.run(command, lambda _: None)
    if end.exit_code != 0:
        raise RuntimeError(f"the step that does nothing ended with {end}")


async def _process(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait() != 0:
        raise RuntimeError(f"{command[0]} failed")
