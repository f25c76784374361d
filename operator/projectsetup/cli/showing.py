"""Carrying out `status` without `--watch`."""

from __future__ import annotations

from datetime import UTC, datetime

from projectsetup.api.models import parse_resource
from projectsetup.cli.output import Format, say, write_text, write_value
from projectsetup.cli.running import cluster
from projectsetup.cli.status_view import detail, overview, presentable


async def show_all(namespace: str | None, output: Format) -> None:
    """Print the ProjectSetups of one namespace, or of all."""
    async with cluster() as setups:
        bodies, _ = await setups.list(namespace)
    if output is not Format.TABLE:
        write_value({"apiVersion": "v1", "kind": "List", "items": [presentable(body) for body in bodies]}, output)
    elif bodies:
        write_text(overview(map(parse_resource, bodies), datetime.now(UTC), with_namespace=namespace is None))
    else:
        say(f"there are no ProjectSetups{f' in namespace {namespace}' if namespace else ''}")


async def show_one(namespace: str, name: str, output: Format) -> None:
    """Print one ProjectSetup; NoSuchSetup."""
    async with cluster() as setups:
        body = await setups.get(namespace, name)
    if output is not Format.TABLE:
        write_value(presentable(body), output)
    else:
        write_text(detail(parse_resource(body), datetime.now(UTC)))
