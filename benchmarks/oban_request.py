"""A client that enqueues jobs of `oban_peer` and resumes its queue, with the Python of `debian_python`.

Each line of standard input is `resume`, or projects separated by spaces, for which it enqueues jobs. Its answer is the
time in nanoseconds at which Oban has acknowledged that.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import uvloop
from oban import Oban

from benchmarks.oban_peer import SetUp


async def main() -> None:
    """Serve the lines of standard input until its end."""
    pool = await Oban.create_pool(os.environ["OBAN_DSN"])
    async with Oban(pool=pool) as oban:
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line == "resume\n":
                await oban.resume_queue("default")
            else:
                jobs = [SetUp.new({"project": project}) for project in line.split()]  # type: ignore[attr-defined]  # of @worker
                await oban.enqueue_many(jobs)
            print(time.time_ns(), flush=True)
    await pool.close()


uvloop.run(main())
