"""Carrying out `queue …`: the ConfigMap that the operator watches, and the ProjectSetups that stand in line."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from kubernetes.aio.client import ApiClient

from projectsetup.api.models import ProjectSetupResource, parse_resource
from projectsetup.cli.cluster import APPLY, Setups
from projectsetup.cli.errors import CommandError
from projectsetup.cli.output import Format, write_data, write_text
from projectsetup.cli.queue_line import line_up
from projectsetup.cli.queue_view import Leader, QueueState, queue_text, queue_value
from projectsetup.cli.running import current_namespace, operator_namespace
from projectsetup.cli.status_view import full_name
from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.errors import ApiForbidden, ApiNotFound
from projectsetup.kube.lease import LEASE_GROUP, LEASE_NAME, LEASE_VERSION
from projectsetup.kube.queue_config import CONFIG_MAP, parse_queue_control, queue_config_path, read_queue_config
from projectsetup.kube.raw import RawApi


async def show_queue(kubeconfig: Kubeconfig, given: str | None, output: Format) -> None:
    """Print what the ConfigMap asks for, who runs and who waits; the names are of those that wait, the next first."""
    namespace = operator_namespace(given, kubeconfig)
    async with await connect(kubeconfig) as api:
        data, leader, (resources, within) = await asyncio.gather(
            read_queue_config(RawApi(api), namespace), _leader(api, namespace), _resources(api, kubeconfig)
        )
    control, problem = parse_queue_control(data)
    state = QueueState(namespace, control, problem, leader, line_up(resources), within)
    if output is not Format.TABLE:
        write_data(queue_value(state), output, names=[full_name(resource.name) for resource in state.line.waiting])
    else:
        write_text(queue_text(state, datetime.now(UTC)))


async def change_queue(kubeconfig: Kubeconfig, given: str | None, key: str, value: str) -> None:
    """Set one key of the ConfigMap, which is made where it is missing; the other key stays as it is.

    Each key is applied by a field manager of its own: applied by one, the key that is left out would be removed.
    """
    _, problem = parse_queue_control({key: value})
    if problem:
        raise CommandError(problem)
    namespace = operator_namespace(given, kubeconfig)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": {key: value}}
    async with await connect(kubeconfig) as api:
        await RawApi(api).call(
            f"write ConfigMap {namespace}/{CONFIG_MAP}",
            "PATCH",
            queue_config_path(namespace),
            query={"fieldManager": f"projectsetup-cli-{key}", "force": "true"},
            body=body,
            content_type=APPLY,
        )


async def _leader(api: ApiClient, namespace: str) -> Leader | None:
    path = f"/apis/{LEASE_GROUP}/{LEASE_VERSION}/namespaces/{namespace}/leases/{LEASE_NAME}"
    try:
        lease = await RawApi(api).call(f"read Lease {namespace}/{LEASE_NAME}", "GET", path)
    except ApiNotFound:
        return Leader()
    except ApiForbidden:
        return None
    holder, renewed = lease["spec"].get("holderIdentity"), lease["spec"].get("renewTime")
    return Leader(holder, datetime.fromisoformat(renewed) if renewed else None) if holder else Leader()


async def _resources(api: ApiClient, kubeconfig: Kubeconfig) -> tuple[list[ProjectSetupResource], str | None]:
    """The ProjectSetups of all namespaces; where these may not be listed, of the one that is returned."""
    setups, within = Setups(api), None
    try:
        bodies, _ = await setups.list(None)
    except ApiForbidden:
        within = current_namespace(None, kubeconfig)
        bodies, _ = await setups.list(within)
    return list(map(parse_resource, bodies)), within
