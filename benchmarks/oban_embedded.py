"""An application with Oban in its own asyncio loop, with the Python of `debian_python`.

`oban start` runs the same worker on uvloop, where starting a process takes several times as much CPU.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal

from oban import Oban
from oban.telemetry import logger

import benchmarks.oban_peer  # noqa: F401  # registers the worker


async def main() -> None:
    """Run jobs of the queue `default`, whose options are in PEER_QUEUE, until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    logging.basicConfig(level=logging.INFO)
    logger.attach()
    pool = await Oban.create_pool(os.environ["OBAN_DSN"])
    async with Oban(pool=pool, queues={"default": json.loads(os.environ["PEER_QUEUE"])}):
        await stopped.wait()
    await pool.close()


asyncio.run(main())
