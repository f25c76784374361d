"""What commands work with: the event loop, the cluster and the project record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from projectsetup.cli.cluster import Setups
from projectsetup.cluster.connection import connect, context_namespace, pod_namespace

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Carry out the work of one command."""
    return asyncio.run(work)


@asynccontextmanager
async def cluster() -> AsyncIterator[Setups]:
    """The ProjectSetups of the cluster; its first call finds out whether it is there."""
    async with await connect() as api:
        yield Setups(api)


def current_namespace(given: str | None) -> str:
    """The namespace that was given, else the one that kubectl would take."""
    return given or pod_namespace() or context_namespace()


def operator_namespace(given: str | None) -> str:
    """The namespace that was given, else the one that an operator started here would take."""
    return given or pod_namespace() or "default"
