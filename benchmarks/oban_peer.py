"""The peer: the same setup as a worker of Oban for Python, as its documentation recommends.

It runs with the Python of `debian_python` and Oban's defaults: leader election, stager, pruner, the rescue of orphaned
jobs, and log lines when a job starts and ends. The worker has its own pool, like an application.
docs/performance.md lists what it lacks.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from oban import Cancel, worker
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

_STEPS: list[list[str]] = json.loads(os.environ["PEER_STEPS"])
"""The program and arguments of each step."""
_pool = AsyncConnectionPool(os.environ["DATABASE_URL"], open=False)


@worker(max_attempts=3)
class SetUp:
    """Load the project, run its steps, and record the result. A step that fails is final; anything else is retried."""

    async def process(self, job: Any) -> Any:
        """Run one job."""
        await _pool.open()
        async with _pool.connection() as connection:
            found = await connection.execute("SELECT name FROM projects WHERE id = %s", (job.args["project"],))
            if await found.fetchone() is None:
                return Cancel("the project does not exist")
        for number, step in enumerate(_STEPS, 1):
            if exit_code := await _run(step, job.args["project"]):
                error = f"step {number} failed with exit code {exit_code}"
                await _record("failed", error, job)
                return Cancel(error)
        await _record("ready", None, job)
        return None


async def _run(step: list[str], project: str) -> int:
    environment = {"PATH": os.defpath, "PROJECT_ID": project}
    process = await asyncio.create_subprocess_exec(*step, env=environment)
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise


async def _record(status: str, error: str | None, job: Any) -> None:
    values = (status, error and Jsonb({"message": error}), job.args["project"])
    async with _pool.connection() as connection:
        await connection.execute("UPDATE projects SET status = %s, setup_error = %s WHERE id = %s", values)
