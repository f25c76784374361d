"""Carrying out `queue …`: the ConfigMap that the operator watches."""

from __future__ import annotations

from typing import Any

from kubernetes.aio.client import CoreV1Api

from projectsetup.cli.errors import CommandError
from projectsetup.cli.output import Format, write_text, write_value
from projectsetup.cli.running import operator_namespace
from projectsetup.cli.tables import fields
from projectsetup.cluster.connection import connect
from projectsetup.cluster.errors import ApiNotFound
from projectsetup.cluster.queue_config import CONFIG_MAP, TIMEOUT, parse_queue_control
from projectsetup.cluster.translate import translated


async def show_queue(given: str | None, output: Format) -> None:
    """Print what the ConfigMap asks for; without one, that is nothing."""
    namespace = operator_namespace(given)
    data: dict[str, str] | None = None
    async with await connect() as api:
        try:
            with translated(f"read ConfigMap {namespace}/{CONFIG_MAP}"):
                found = await CoreV1Api(api).read_namespaced_config_map(CONFIG_MAP, namespace, _request_timeout=TIMEOUT)
            data = found.data
        except ApiNotFound:
            pass
    control, problem = parse_queue_control(data)
    value: dict[str, Any] = {"namespace": namespace, "paused": control.paused, "concurrency": control.concurrency}
    if problem:
        value["problem"] = problem
    if output is not Format.TABLE:
        write_value(value, output)
        return
    write_text(
        fields(
            {
                "Namespace": namespace,
                "Paused": "yes" if control.paused else "no",
                "Concurrency": "as the operator is set" if control.concurrency is None else control.concurrency,
                "Not understood": problem,
            }
        )
    )


async def change_queue(given: str | None, key: str, value: str) -> None:
    """Set one key of the ConfigMap, which is made where it is missing; the other key stays as it is.

    Each key is applied by a field manager of its own: applied by one, the key that is left out would be removed.
    """
    _, problem = parse_queue_control({key: value})
    if problem:
        raise CommandError(problem)
    namespace = operator_namespace(given)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": {key: value}}
    async with await connect() as api:
        with translated(f"write ConfigMap {namespace}/{CONFIG_MAP}"):
            await CoreV1Api(api).patch_namespaced_config_map(
                CONFIG_MAP,
                namespace,
                body,
                field_manager=f"projectsetup-cli-{key}",
                force=True,
                _content_type="application/apply-patch+yaml",
                _request_timeout=TIMEOUT,
            )
