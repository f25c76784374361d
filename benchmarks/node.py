"""A real node on which contenders run one at a time: setups as Jobs, and bare Jobs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from kubernetes import client, config, watch

from benchmarks.arena import WRITES, requests_taken
from benchmarks.throughput import LIMIT, NAMESPACE, install, make_projects
from devcluster import Cluster
from devcluster.build import find_programs
from devcluster.ports import free_port
from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, VERSION
from projectsetup.projects.migrate import migrate

SETTLED: Final = 3.0
"""Seconds until the controllers have finished their writes after the end of a Job."""
NOT_COUNTED: Final = {"leases", "nodes", "tokenreviews", "subjectaccessreviews", "serviceaccounts"}
"""Resources that are written all the time, or not stored."""


Names = list[str]
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """`create` creates objects with these names; `succeeded` returns whether such an object has succeeded."""

    name: str
    create: Callable[[Names], None]
    listing: Callable[..., Any]
    succeeded: Callable[[Any], bool]
    took: list[float] = field(default_factory=list)
    wrote: list[float] = field(default_factory=list)


class Bench:
    """A node on which one contender runs at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        api = config.new_client_from_config(str(cluster.kubeconfig))
        self._objects = client.CustomObjectsApi(api)
        self.kubectl = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"]

    def setups(self, spec: Body, prepare: Callable[[Names], None] | None = None) -> Contender:
        """ProjectSetups with this spec; `prepare` creates their projects (default: arbitrary ones)."""

        def create(names: Names) -> None:
            if prepare is not None:
                prepare(names)
            else:
                asyncio.run(make_projects(self.cluster.database_url, names))
            for name in names:
                body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
                self._objects.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, body)

        def listing(**options: Any) -> Any:
            return self._objects.list_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, **options)

        def succeeded(body: Any) -> bool:
            phase = body.get("status", {}).get("phase")
            if phase in {"Failed", "Cancelled"}:
                raise RuntimeError(f"a setup ended as {body['status']}")
            return bool(phase == "Succeeded")

        return Contender("this operator", create, listing, succeeded)

    def jobs(self, title: str, pod: Callable[[str], Body]) -> Contender:
        """Bare Jobs; `pod` returns the pod spec for a name."""

        def create(names: Names) -> None:
            for name in names:
                spec = {"backoffLimit": 0, "template": {"spec": pod(name)}}
                body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
                self._objects.create_namespaced_custom_object("batch", "v1", NAMESPACE, "jobs", body)

        def listing(**options: Any) -> Any:
            return self._objects.list_namespaced_custom_object("batch", "v1", NAMESPACE, "jobs", **options)

        def succeeded(job: Any) -> bool:
            conditions = job.get("status", {}).get("conditions", ())
            if any(c["type"] == "Failed" and c["status"] == "True" for c in conditions):
                raise RuntimeError(f"a Job ended as {conditions}")
            return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)

        return Contender(title, create, listing, succeeded)

    def measure(self, contender: Contender, count: int) -> None:
        """Run `count` objects of the contender and record seconds and writes."""
        seconds, writes = self.run(contender, count)
        contender.took.append(seconds)
        contender.wrote.append(writes)

    def run(self, contender: Contender, count: int) -> tuple[float, float]:
        """Seconds from creation until all have succeeded, and writes to the API server per object."""
        names = [str(uuid4()) for _ in range(count)]
        before = self._writes()
        version = contender.listing(limit=1)["metadata"]["resourceVersion"]
        began = time.perf_counter()
        contender.create(names)
        self._until_succeeded(contender, set(names), version)
        took = time.perf_counter() - began
        time.sleep(SETTLED)
        return took, (self._writes() - before) / count

    def _until_succeeded(self, contender: Contender, left: set[str], version: str) -> None:
        stream = watch.Watch().stream(contender.listing, resource_version=version, timeout_seconds=int(LIMIT))
        for event in stream:
            body = event["object"]
            name = body["metadata"]["name"]
            if name in left and contender.succeeded(body):
                left.discard(name)
                if not left:
                    return
        raise RuntimeError(f"{contender.name}: {len(left)} did not finish within {LIMIT} s")

    def _writes(self) -> float:
        command = [*self.kubectl, "get", "--raw", "/metrics"]
        metrics = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return sum(count for resource, count in requests_taken(metrics, WRITES) if resource not in NOT_COUNTED)


@contextmanager
def node(recipes: Mapping[str, str], *, images: Sequence[Path] = (), concurrency: int) -> Iterator[Bench]:
    """A cluster with a real node and these images, and an operator that runs these recipes as Jobs."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "cluster", node=True)
        cluster.up()
        try:
            for image in images:
                cluster.load_image(image)
            with _operator(cluster, Path(folder), recipes, concurrency):
                yield Bench(cluster)
        finally:
            cluster.down()


@contextmanager
def _operator(cluster: Cluster, folder: Path, recipes: Mapping[str, str], concurrency: int) -> Iterator[None]:
    place = folder / "recipes"
    place.mkdir()
    for name, recipe in recipes.items():
        (place / f"{name}.yaml").write_text(recipe)
    install(cluster)
    migrate(cluster.database_url)
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "DATABASE_URL": cluster.database_url,
        "PROJECTSETUP_ENGINE": "job",
        "PROJECTSETUP_RECIPES_DIR": str(place),
        "PROJECTSETUP_CONCURRENCY": str(concurrency),
        "PROJECTSETUP_HTTP_PORT": str(free_port()),
    }
    log = folder / "operator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "projectsetup", "operator"], env=environment, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)
