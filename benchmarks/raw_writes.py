"""The writes of setups and nothing else: what the API server takes of them, by the client library that we use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from itertools import count, islice
from pathlib import Path
from typing import Final

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from benchmarks.wire import NAMESPACE
from projectsetup.kube.client import ClusterClient

AT_ONCE: Final = (4, 8, 16, 32)
"""How many at once are tried to find the best."""
_EVENTS: Final = count()
"""A number for each event: one that is told again would be counted up, which is three requests instead of one."""
_CONDITION: Final = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}


def status(number: int) -> dict[str, object]:
    """A `.status` as long as ours, another one for each number."""
    message = f"attempt 1 of 3: step nothing (1 of 1), write {number}"
    kinds = ("Succeeded", "Ready", "Reconciling", "Stalled")
    conditions = [
        {**_CONDITION, "type": kind, "status": "Unknown", "reason": "Running", "message": message} for kind in kinds
    ]
    return {"phase": "Running", "attempt": 1, "step": "nothing", "progress": f"{number}/9", "conditions": conditions}


async def drained(kubeconfig: Path, versions: Mapping[str, str], at_once: int, *, writes: int, events: int) -> float:
    """Seconds for so many status writes and so many events of each ProjectSetup, which has this resourceVersion."""
    settings = Configuration()
    settings.connection_pool_maxsize = at_once
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=settings)
    async with ApiClient(settings) as api:
        cluster, left = ClusterClient(api), iter(versions.items())

        async def work() -> None:
            for name, listed in left:
                version = listed
                for number in range(writes):
                    stored = await cluster.replace_status(
                        NAMESPACE, name, resource_version=version, status=status(number)
                    )
                    version = stored["metadata"]["resourceVersion"]
                for number in islice(_EVENTS, events):
                    await cluster.post_event(
                        namespace=NAMESPACE,
                        name=name,
                        uid=name,
                        reason="Started",
                        message=f"event {number}",
                        warning=False,
                        reporter="raw",
                    )

        began = time.perf_counter()
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(work())
        return time.perf_counter() - began
