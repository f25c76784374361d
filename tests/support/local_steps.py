"""For tests of the local engine: steps, an operator process that runs them, and their real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from projectsetup.engines.local.engine import LocalEngine
from projectsetup.setup.types import InfrastructureError, StepCommand
from tests.support.operator_process import pause_after
from tests.support.processes import children, living

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

ESCAPING = """
trap '' TERM
sleep 1000 &
setsid sleep 1001 &
(setsid sh -c 'trap "" TERM HUP INT; sleep 1002 & sleep 1003' &)
python - <<'END'
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for fd in range(3):
            os.close(fd)
        time.sleep(1004)
    os._exit(0)
END
touch "$READY"
"""
"""Leaves processes behind that ignore SIGTERM, in their own sessions, and one daemon."""

FAMILY = 8
"""The number of processes of a step that runs ESCAPING and then `sleep`."""

FORKING = """
python - <<'END'
import os, time
end = time.monotonic() + 60
open(os.environ["READY"], "w").close()
while time.monotonic() < end:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.05)
        os._exit(0)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
END
"""
"""Keeps forking processes into their own sessions, as fast as it can."""


class Step:
    """One step of a test, whose processes are recognized by a mark."""

    def __init__(self, folder: Path, script: str, *, seconds: float = 60.0) -> None:
        self.mark = uuid4().hex
        self.ready = folder / f"ready-{self.mark}"
        environment = {"PATH": PATH, "MARK": self.mark, "READY": str(self.ready)}
        self.command = StepCommand("test", script, environment, seconds)

    @property
    def alive(self) -> set[int]:
        """The ids of its living processes."""
        return living(self.mark)

    async def wait_ready(self) -> None:
        """Wait until the step has created the file `$READY`."""
        await until(self.ready.exists, "the step to be ready")

    async def wait_complete(self) -> None:
        """Wait until exactly the processes of an escaping step are running."""
        await self.wait_ready()
        await until(lambda: len(self.alive) == FAMILY, "all processes of the step to run")


async def until(condition: Callable[[], object], what: str, *, limit: float = 20.0) -> None:
    """Wait until `condition` holds; fail after `limit` seconds and name `what` was expected.

    The condition is checked once more after the limit: on a busy machine one check of all processes can take long.
    """
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        if condition():
            return
        if waited > limit:
            raise AssertionError(f"waited {limit:.0f} s for {what}")
        await asyncio.sleep(pause_after(waited))


class Operator:
    """A process that runs steps in a local engine, as the operator does."""

    def __init__(self, root: Path, process: subprocess.Popen[str]) -> None:
        self.root = root
        self.process = process
        assert process.stdout is not None
        self.supervisor = int(process.stdout.readline())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    @property
    def wardens(self) -> set[int]:
        """The process ids of its wardens."""
        return children(self.supervisor)

    @property
    def directories(self) -> list[Path]:
        """The entries below the workspace root."""
        return sorted(self.root.iterdir())


@contextmanager
def operator(root: Path, *steps: Step) -> Iterator[Operator]:
    """An operator that runs these steps concurrently; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.local_steps", str(root)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        json.dump([(step.command.script, dict(step.command.environment)) for step in steps], process.stdin)
        process.stdin.close()
        process.stdin = None
        yield Operator(root, process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def main(root: Path, steps: Sequence[tuple[str, dict[str, str]]]) -> None:
    """Run all steps at once; print the process id of the supervisor, then the reason of each attempt that breaks."""
    engine = LocalEngine(root)
    await engine.start()
    print(engine.supervisor_pid, flush=True)
    await asyncio.gather(*(attempt(engine, *step) for step in steps))
    await engine.close()


async def attempt(engine: LocalEngine, script: str, environment: dict[str, str]) -> None:
    """Run one step; prints the reason if it breaks."""
    try:
        async with engine.open(uuid4(), 1) as runner:
            await runner.run(StepCommand("test", script, environment, 100.0), lambda _: None)
    except InfrastructureError as error:
        print(error.reason, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.load(sys.stdin)))
