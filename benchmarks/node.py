"""A real node on which contenders run one at a time: setups as Jobs, and bare Jobs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import yaml
from kubernetes import client, config, watch

from benchmarks.arena import WRITES, TimedOut, requests_taken, until
from benchmarks.controllers import Process, running
from benchmarks.throughput import LIMIT, NAMESPACE, OURS, install, make_projects
from devcluster import Cluster
from devcluster.build import find_programs
from devcluster.images import BUSYBOX
from devcluster.ports import free_port
from projectsetup.api.constants import GROUP, KIND, PLURAL, VERSION
from projectsetup.projects.migrate import migrate

SETTLED: Final = 3.0
"""Seconds until the controllers have finished their writes after the end of a Job."""
NOT_COUNTED: Final = {"leases", "nodes", "tokenreviews", "subjectaccessreviews", "serviceaccounts"}
"""Resources that are written all the time, or not stored."""


Names = list[str]
Body = dict[str, Any]
Scripts = Callable[[str], Sequence[str]]
"""The scripts of the steps of an object with this name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects in the API."""

    group: str
    version: str
    name: str
    plural: str

    @property
    def full_name(self) -> str:
        """The name that kubectl understands."""
        return f"{self.plural}.{self.group}"


SETUP: Final = Kind(GROUP, VERSION, KIND, PLURAL)
JOB: Final = Kind("batch", "v1", "Job", "jobs")


@dataclass(frozen=True, slots=True)
class Contender:
    """`create` creates objects with these names; `succeeded` returns whether such an object has succeeded."""

    name: str
    kind: Kind
    create: Callable[[Names], None]
    listing: Callable[..., Any]
    succeeded: Callable[[Any], bool]
    limit: int
    """Seconds until its objects must have succeeded."""
    took: list[float] = field(default_factory=list)
    wrote: list[float] = field(default_factory=list)


class Bench:
    """A node on which one contender runs at a time."""

    def __init__(self, cluster: Cluster, operator: Process) -> None:
        self.cluster = cluster
        self.operator = operator
        api = config.new_client_from_config(str(cluster.kubeconfig))
        self._objects = client.CustomObjectsApi(api)
        self._pods = client.CoreV1Api(api)
        self.kubectl = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"]

    def setups(self, spec: Body, prepare: Callable[[Names], None] | None = None) -> Contender:
        """ProjectSetups with this spec; `prepare` creates their projects (default: arbitrary ones)."""

        def succeeded(body: Any) -> bool:
            phase = body.get("status", {}).get("phase")
            if phase in {"Failed", "Cancelled"}:
                raise RuntimeError(f"a setup ended as {body['status']}")
            return bool(phase == "Succeeded")

        objects = self.objects(OURS, SETUP, lambda _: spec, succeeded)

        def create(names: Names) -> None:
            if prepare is not None:
                prepare(names)
            else:
                asyncio.run(make_projects(self.cluster.database_url, names))
            objects.create(names)

        return replace(objects, create=create)

    def jobs(self, title: str, pod: Callable[[str], Body]) -> Contender:
        """Bare Jobs; `pod` returns the pod spec for a name."""

        def succeeded(job: Any) -> bool:
            conditions = job.get("status", {}).get("conditions", ())
            if any(c["type"] == "Failed" and c["status"] == "True" for c in conditions):
                raise RuntimeError(f"a Job ended as {conditions}")
            return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)

        def spec(name: str) -> Body:
            return {"backoffLimit": 0, "template": {"spec": pod(name)}}

        return self.objects(title, JOB, spec, succeeded)

    def objects(
        self,
        title: str,
        kind: Kind,
        spec: Callable[[str], Body],
        succeeded: Callable[[Any], bool],
        *,
        labels: Mapping[str, str] | None = None,
        limit: int = int(LIMIT),
    ) -> Contender:
        """Objects of any kind; `spec` returns the spec for a name."""
        place = (kind.group, kind.version, NAMESPACE, kind.plural)

        def create(names: Names) -> None:
            for name in names:
                metadata = {"name": name, "labels": dict(labels or {})}
                body = {"apiVersion": f"{kind.group}/{kind.version}", "kind": kind.name, "metadata": metadata}
                self._objects.create_namespaced_custom_object(*place, {**body, "spec": spec(name)})

        def listing(**options: Any) -> Any:
            return self._objects.list_namespaced_custom_object(*place, **options)

        return Contender(title, kind, create, listing, succeeded, limit)

    def apply(self, bodies: Sequence[Body]) -> None:
        """Create objects, and wait until all CRDs are served."""
        command = [*self.kubectl, "apply", "--server-side", "--filename=-"]
        subprocess.run(command, check=True, input=yaml.safe_dump_all(bodies), text=True, stdout=subprocess.DEVNULL)
        command = [*self.kubectl, "wait", "--for=condition=Established", "crd", "--all"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def measure(self, contender: Contender, count: int) -> None:
        """Run `count` objects of the contender and record seconds and writes."""
        seconds, writes = self.run(contender, count)
        contender.took.append(seconds)
        contender.wrote.append(writes)

    def run(self, contender: Contender, count: int) -> tuple[float, float]:
        """Seconds from creation until all have succeeded, and writes to the API server per object."""
        names = [str(uuid4()) for _ in range(count)]
        before = self._writes()
        version = self.version(contender)
        began = time.perf_counter()
        contender.create(names)
        self.await_succeeded(contender, names, version)
        took = time.perf_counter() - began
        time.sleep(SETTLED)
        return took, (self._writes() - before) / count

    def version(self, contender: Contender) -> str:
        """The current resourceVersion of the objects of a contender."""
        return str(contender.listing(limit=1)["metadata"]["resourceVersion"])

    def await_succeeded(self, contender: Contender, names: Names, version: str) -> None:
        """Wait until these objects have succeeded; `version` is a resourceVersion from before. Raises TimedOut."""
        left = set(names)
        stream = watch.Watch().stream(contender.listing, resource_version=version, timeout_seconds=contender.limit)
        for event in stream:
            body = event["object"]
            name = body["metadata"]["name"]
            if name in left and contender.succeeded(body):
                left.discard(name)
                if not left:
                    return
        raise TimedOut(f"{contender.name}: {len(left)} did not finish within {contender.limit} s")

    def clear(self, contender: Contender) -> None:
        """Delete all objects of a contender and wait until no pods are left."""
        command = [*self.kubectl, f"--namespace={NAMESPACE}", "delete", contender.kind.full_name, "--all"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        until(lambda: not self._pods.list_namespaced_pod(NAMESPACE, limit=1).items, "all pods to be deleted", every=0.2)

    def _writes(self) -> float:
        command = [*self.kubectl, "get", "--raw", "/metrics"]
        metrics = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return sum(count for resource, count in requests_taken(metrics, WRITES) if resource not in NOT_COUNTED)


def containers(scripts: Sequence[str]) -> list[Body]:
    """A container for each script, as Kubernetes and its peers write one."""
    return [
        {"name": f"s{number}", "image": BUSYBOX, "command": ["sh", "-euc", script]}
        for number, script in enumerate(scripts)
    ]


@contextmanager
def node(recipes: Mapping[str, str], *, images: Sequence[Path] = (), concurrency: int) -> Iterator[Bench]:
    """A cluster with a real node and these images, and an operator that runs these recipes as Jobs."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "cluster", node=True)
        cluster.up()
        try:
            for image in images:
                cluster.load_image(image)
            with running(_operator(cluster, Path(folder), recipes, concurrency)) as operator:
                yield Bench(cluster, operator)
        finally:
            cluster.down()


def _operator(cluster: Cluster, folder: Path, recipes: Mapping[str, str], concurrency: int) -> Process:
    place = folder / "recipes"
    place.mkdir()
    for name, recipe in recipes.items():
        (place / f"{name}.yaml").write_text(recipe)
    install(cluster)
    migrate(cluster.database_url)
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "DATABASE_URL": cluster.database_url,
        "PROJECTSETUP_ENGINE": "job",
        "PROJECTSETUP_RECIPES_DIR": str(place),
        "PROJECTSETUP_CONCURRENCY": str(concurrency),
        "PROJECTSETUP_HTTP_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "projectsetup", "operator"]
    return Process(command, environment, folder / "operator.log")
