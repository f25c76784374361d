"""A program that runs steps in a local engine as the operator does: `python -m tests.support.local_operator ROOT`.

Standard input is a JSON list of steps, each a script and its environment. The program prints the process id of its
supervisor, and then the reason of each attempt that breaks.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from projectsetup.engines.local.engine import LocalEngine
from projectsetup.setup.types import InfrastructureError, StepCommand


async def main(root: Path, steps: Sequence[tuple[str, dict[str, str]]]) -> None:
    """Run all steps at once, each in an attempt of its own."""
    engine = LocalEngine(root)
    await engine.start()
    print(engine.supervisor_pid, flush=True)
    await asyncio.gather(*(attempt(engine, *step) for step in steps))
    await engine.close()


async def attempt(engine: LocalEngine, script: str, environment: dict[str, str]) -> None:
    """One step."""
    try:
        async with engine.open(uuid4(), 1) as runner:
            await runner.run(StepCommand("test", script, environment, 100.0), lambda _: None)
    except InfrastructureError as error:
        print(error.reason, flush=True)


asyncio.run(main(Path(sys.argv[1]), json.load(sys.stdin)))
