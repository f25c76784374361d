"""Stands for the operator in a container of the toolchain image: `projectsetup` itself needs a cluster to run a step.

`python image_driver.py FOLDER SCRIPT`: like the operator it keeps others from looking into it. Then it runs the
script as a step of the local engine, and once more as a process of the same user that no Landlock confines.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from projectsetup.engines.local.engine import LocalEngine
from projectsetup.engines.local.supervisor.kernel import refuse_inspection
from projectsetup.setup.types import StepCommand


async def run_as_step(folder: Path, script: str, environment: dict[str, str]) -> None:
    """Run the script in an attempt of its own."""
    engine = LocalEngine(folder, hidden=())
    await engine.start()
    async with engine.open(uuid4(), 1) as attempt:
        end = await attempt.run(StepCommand("attack", script, environment, 300.0), lambda text: print(text.decode()))
    await engine.close()
    assert end.exit_code == 0, end


def main(folder: Path, script: str) -> None:
    """Run the script both ways; its environment says which one it is."""
    refuse_inspection()
    path = {"PATH": os.environ["PATH"]}
    asyncio.run(run_as_step(folder, script, path | {"KIND": "step"}))
    unconfined = ["sh", "-euc", script]
    subprocess.run(unconfined, env=path | {"KIND": "unconfined"}, check=True, start_new_session=True)


main(Path(sys.argv[1]), sys.argv[2])
