"""Asking the cluster for what there is to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from projectsetup.api.reasons import Phase
from projectsetup.cli.lines import printable
from projectsetup.cli.running import current_namespace
from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.paths import setups_path
from projectsetup.kube.raw import Body, Query, RawApi


async def setups(
    file: str | None, context: str | None, namespace: str | None, without: Sequence[Phase], most: int
) -> list[tuple[str, str]]:
    """The ids of the ProjectSetups that are in none of these phases, and where each one is."""
    kubeconfig = Kubeconfig(file, context)
    path = setups_path(current_namespace(namespace, kubeconfig))
    selector = ",".join(f"status.phase!={phase}" for phase in without)
    found = await _listed(kubeconfig, path, {"limit": most, "fieldSelector": selector})
    return [(body["metadata"]["name"], _where(body.get("status", {}))) for body in found]


async def namespaces(file: str | None, context: str | None, most: int) -> list[tuple[str, str]]:
    """The namespaces of the cluster."""
    found = await _listed(Kubeconfig(file, context), "/api/v1/namespaces", {"limit": most})
    return [(body["metadata"]["name"], "") for body in found]


async def _listed(kubeconfig: Kubeconfig, path: str, query: Query) -> list[Body]:
    async with await connect(kubeconfig) as api:
        listed = await RawApi(api).call("list what there is", "GET", path, query={"resourceVersion": "0", **query})
    found: list[Body] = listed["items"]
    return found


def _where(status: Body) -> str:
    return printable(" ".join(filter(None, (status.get("phase"), status.get("step"), status.get("progress")))))
