"""Carrying out `status` without `--watch`."""

from __future__ import annotations

from datetime import UTC, datetime

from projectsetup.api.models import parse_resource
from projectsetup.cli.output import Format, say, write_data, write_text
from projectsetup.cli.running import cluster
from projectsetup.cli.status_view import detail, full_name, overview, presentable
from projectsetup.kube.connection import Kubeconfig


async def show_all(kubeconfig: Kubeconfig, namespace: str | None, output: Format) -> None:
    """Print the ProjectSetups of one namespace, or of all."""
    async with cluster(kubeconfig) as setups:
        bodies, _ = await setups.list(namespace)
    if output is not Format.TABLE:
        value = {"apiVersion": "v1", "kind": "List", "items": [presentable(body) for body in bodies]}
        write_data(value, output, names=[full_name(body["metadata"]["name"]) for body in bodies])
    elif bodies:
        write_text(overview(map(parse_resource, bodies), datetime.now(UTC), with_namespace=namespace is None))
    else:
        say(f"there are no ProjectSetups{f' in namespace {namespace}' if namespace else ''}")


async def show_one(kubeconfig: Kubeconfig, namespace: str, name: str, output: Format) -> None:
    """Print one ProjectSetup; NoSuchSetup."""
    async with cluster(kubeconfig) as setups:
        body = await setups.get(namespace, name)
    if output is not Format.TABLE:
        write_data(presentable(body), output, names=[full_name(name)])
    else:
        write_text(detail(parse_resource(body), datetime.now(UTC)))
