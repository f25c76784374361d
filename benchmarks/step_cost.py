"""The cost of a step that does nothing, compared with the simplest ways to run it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.figures import Comparison, Contender, Findings
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.setup.types import StepCommand

SCRIPT: Final = ":"
IN_PYTHON: Final = f"import subprocess; subprocess.run(['sh', '-euc', {SCRIPT!r}], check=True)"
TEXT: Final = """\
One attempt of one step that does nothing, sequentially and in turn: with its own workspace under the supervisor,
which ends all its processes if the operator dies; a bare shell, which outlives its parent; and a Python interpreter
started per attempt, as a worker process per job would be."""


def measure(*, quick: bool) -> Findings:
    """Run the contenders in turn, several rounds; milliseconds per step."""
    return asyncio.run(_measure(2 if quick else 7, 20 if quick else 100))


async def _measure(rounds: int, steps: int) -> Findings:
    with tempfile.TemporaryDirectory() as folder:
        engine = LocalEngine(Path(folder))
        await engine.start()
        contenders: dict[str, Callable[[], Awaitable[None]]] = {
            "local engine": lambda: _attempt(engine),
            "sh only": lambda: _process("sh", "-euc", SCRIPT),
            "a Python interpreter per attempt": lambda: _process(sys.executable, "-c", IN_PYTHON),
        }
        measured: dict[str, list[float]] = {name: [] for name in contenders}
        try:
            for _ in range(rounds):
                for name, contender in contenders.items():
                    began = time.perf_counter()
                    for _ in range(steps):
                        await contender()
                    measured[name].append((time.perf_counter() - began) / steps * 1000)
        finally:
            await engine.close()
    found = [Contender(name=name, rounds=values) for name, values in measured.items()]
    comparison = Comparison(title="One attempt of one step that does nothing", unit="ms", contenders=found)
    return Findings(title="A supervised step", text=TEXT, comparisons=[comparison])


async def _attempt(engine: LocalEngine) -> None:
    async with engine.open(uuid4(), 1) as runner:
        command = StepCommand("nothing", SCRIPT, {"PATH": "/usr/bin:/bin"}, timeout=60.0)
        end = await runner.run(command, lambda _: None)
    if end.exit_code != 0:
        raise RuntimeError(f"the step that does nothing ended with {end}")


async def _process(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait() != 0:
        raise RuntimeError(f"{command[0]} failed")
