"""What commands work with: the event loop, the cluster and the project record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from projectsetup.cli.cluster import Setups
from projectsetup.kube.connection import AS_KUBECTL, Kubeconfig, connect, context_namespace, pod_namespace

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Carry out the work of one command."""
    return asyncio.run(work)


@asynccontextmanager
async def cluster(kubeconfig: Kubeconfig = AS_KUBECTL) -> AsyncIterator[Setups]:
    """The ProjectSetups of the cluster; its first call finds out whether it is there."""
    async with await connect(kubeconfig) as api:
        yield Setups(api)


def current_namespace(given: str | None, kubeconfig: Kubeconfig = AS_KUBECTL) -> str:
    """The namespace that was given, else the one that kubectl would take."""
    pod = None if kubeconfig.is_named else pod_namespace()
    return given or pod or context_namespace(kubeconfig)


def operator_namespace(given: str | None, kubeconfig: Kubeconfig = AS_KUBECTL) -> str:
    """The namespace that was given, else the one that an operator started here would take."""
    pod = None if kubeconfig.is_named else pod_namespace()
    return given or pod or "default"
