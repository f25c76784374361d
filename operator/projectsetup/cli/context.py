"""What commands work with: the cluster, its namespaces, and the project record."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from projectsetup.cli.errors import CommandError

if TYPE_CHECKING:
    from projectsetup.cli.cluster import Setups
    from projectsetup.kube.connection import Kubeconfig

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the work of one command."""
    return asyncio.run(work)


@asynccontextmanager
async def cluster(kubeconfig: Kubeconfig) -> AsyncIterator[Setups]:
    """The ProjectSetups of the cluster; the first call shows whether it can be reached."""
    from projectsetup.cli.cluster import Setups
    from projectsetup.kube.connection import connect

    async with await connect(kubeconfig) as api:
        yield Setups(api)


def current_namespace(given: str | None, kubeconfig: Kubeconfig) -> str:
    """The given namespace, else the one that kubectl would use."""
    from projectsetup.kube.connection import context_namespace

    return given or _pod_namespace(kubeconfig) or context_namespace(kubeconfig)


def operator_namespace(given: str | None, kubeconfig: Kubeconfig) -> str:
    """The given namespace, else the one that an operator started here would use."""
    return given or _pod_namespace(kubeconfig) or "default"


def _pod_namespace(kubeconfig: Kubeconfig) -> str | None:
    from projectsetup.kube.connection import pod_namespace

    return None if kubeconfig.is_named else pod_namespace()


def database_url() -> str:
    """The value of DATABASE_URL; CommandError if it is not set."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        from projectsetup.projects.address import EXAMPLE

        raise CommandError(f"DATABASE_URL is not set (expected {EXAMPLE})")
    return url
