"""What commands work with: the cluster, its namespaces, and the project record."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from projectsetup.cli.errors import CommandError

if TYPE_CHECKING:
    from projectsetup.kube.client import Body
    from projectsetup.kube.connection import Kubeconfig
    from projectsetup.kube.errors import ClusterError
    from projectsetup.kube.informer import Action, Change, ObjectKey
    from projectsetup.kube.setups import SetupClient

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the work of one command."""
    return asyncio.run(work)


@asynccontextmanager
async def cluster(kubeconfig: Kubeconfig) -> AsyncIterator[SetupClient]:
    """The ProjectSetups of the cluster; the first call shows whether it can be reached."""
    from projectsetup.kube.connection import connect
    from projectsetup.kube.setups import COMMAND_LINE, SetupClient

    async with await connect(kubeconfig) as api:
        yield SetupClient(api, field_manager=COMMAND_LINE)


async def follow(
    setups: SetupClient,
    namespace: str | None,
    name: str | None,
    *,
    keep: Callable[[Body], T],
    on_change: Callable[[Mapping[ObjectKey, T], Sequence[Change[T]]], bool],
    on_outage: Callable[[str], None],
) -> None:
    """Call `on_change` with the ProjectSetups and what changed, first and after each change, until it returns True.

    They are one ProjectSetup, those of a namespace, or all. An unavailable API server is waited for; `on_outage` gets
    the reason once per outage. Other errors are raised.
    """
    from projectsetup.kube.errors import is_temporary

    is_unavailable = False

    def on_error(_action: Action, error: ClusterError) -> None:
        nonlocal is_unavailable
        if not is_temporary(error):
            raise error
        if not is_unavailable:
            on_outage(str(error))
        is_unavailable = True

    def on_changes(changes: Sequence[Change[T]]) -> bool:
        nonlocal is_unavailable
        is_unavailable = False
        return on_change(informer.objects, changes)

    informer = setups.informer(namespace, name, keep=keep, on_error=on_error)
    await informer.run(on_changes)


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
