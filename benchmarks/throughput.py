"""How long many setups of one step take on a real API server, beside a plain kopf handler that does far less."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from kubernetes import client, config, watch

from benchmarks.measure import Figure, show
from devcluster import Cluster
from devcluster.build import find_programs
from devcluster.ports import free_port
from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, VERSION
from projectsetup.projects.migrate import migrate
from projectsetup.projects.record import ProjectRecord

ROUNDS = 3
SETUPS = 100
NAMESPACE = "default"
LIMIT = 300
ROOT = Path(__file__).parents[1]
RECIPE = """\
name: nothing
image: none
steps: [{name: nothing, status: initializing, run: ":"}]
"""


def measure() -> None:
    """Run both in turn, several rounds; show seconds for all setups and the writes of one."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "cluster")
        cluster.up()
        try:
            _measure_on(cluster, Path(folder))
        finally:
            cluster.down()


def _measure_on(cluster: Cluster, folder: Path) -> None:
    (folder / "recipes").mkdir()
    (folder / "recipes" / "nothing.yaml").write_text(RECIPE)
    install(cluster)
    migrate(cluster.database_url)
    common = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    ours = {
        **common,
        "DATABASE_URL": cluster.database_url,
        "PROJECTSETUP_RECIPES_DIR": str(folder / "recipes"),
        "PROJECTSETUP_CONCURRENCY": "16",
        "PROJECTSETUP_HTTP_PORT": str(free_port()),
        "PROJECTSETUP_LEADER_ELECTION": "false",
    }
    peer = [
        sys.executable,
        "-m",
        "kopf",
        "run",
        "--all-namespaces",
        "--quiet",
        str(ROOT / "benchmarks" / "kopf_peer.py"),
    ]
    contenders = {
        "this operator": ([sys.executable, "-m", "projectsetup", "operator"], ours),
        "plain kopf handler": (peer, common),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    writes: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, (command, environment) in contenders.items():
            took, written = _round(cluster, command, environment)
            seconds[name].append(took)
            writes[name] = written
    notes = {name: f"{value:.1f} writes of the resource a setup" for name, value in writes.items()}
    notes["plain kopf handler"] += "; no record, claim, retry, order or supervision"
    show(f"{SETUPS} setups of one step that does nothing", "s", [Figure(*pair) for pair in seconds.items()], notes)


def install(cluster: Cluster) -> None:
    """Install the CRD; returns when it is served."""
    kubectl = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"]
    crd = str(ROOT / "crds" / "projectsetups.yaml")
    subprocess.run([*kubectl, "apply", "--server-side", "-f", crd], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*kubectl, "wait", "--for=condition=Established", "-f", crd], check=True, stdout=subprocess.DEVNULL)


def _round(cluster: Cluster, command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds from the first creation to the last success, and writes of `.status` or metadata a setup."""
    names = [str(uuid4()) for _ in range(SETUPS)]
    asyncio.run(make_projects(cluster.database_url, names))
    api = client.CustomObjectsApi(config.new_client_from_config(str(cluster.kubeconfig)))
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        version = _version(api)
        _until_over(api, _apply(api, [str(uuid4())]), since=version, ends={"Succeeded", "Failed"})
        version = _version(api)
        began = time.perf_counter()
        changes = _until_over(api, _apply(api, names), since=version, ends={"Succeeded"})
        return time.perf_counter() - began, changes / SETUPS
    finally:
        process.terminate()
        process.wait(60)
        api.delete_collection_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL)


def _apply(api: client.CustomObjectsApi, names: list[str]) -> set[str]:
    for name in names:
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": {"recipe": "nothing"}}
        api.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, body)
    return set(names)


def _version(api: client.CustomObjectsApi) -> str:
    listed: Any = api.list_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL)
    return str(listed["metadata"]["resourceVersion"])


def _until_over(api: client.CustomObjectsApi, names: set[str], *, since: str, ends: set[str]) -> int:
    """Return when all are in one of these phases; how often they were written after their creation."""
    left, written = set(names), 0
    stream = watch.Watch().stream(
        api.list_namespaced_custom_object,
        GROUP,
        VERSION,
        NAMESPACE,
        PLURAL,
        resource_version=since,
        timeout_seconds=LIMIT,
    )
    for event in stream:
        body = event["object"]
        if body["metadata"]["name"] not in names:
            continue
        written += int(event["type"] == "MODIFIED")
        if body.get("status", {}).get("phase") in ends:
            left.discard(body["metadata"]["name"])
        if not left:
            return written
    raise RuntimeError(f"{len(left)} of {len(names)} setups were not over after {LIMIT} s")


async def make_projects(url: str, names: list[str]) -> None:
    """Put projects with these ids into the record."""
    async with ProjectRecord.connect(url) as record:
        for name in names:
            repository = f"https://git.example/{name}.git"
            await record.create(name=name, code_repo=repository, project_id=UUID(name))
