"""What setups cost as Jobs on a real node, beside bare Jobs that do the same: seconds, and writes to the API server."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import uuid4

from kubernetes import client, config, watch

from benchmarks.figures import Comparison, Findings, Goal, at_least, at_most
from benchmarks.figures import Contender as Measured
from benchmarks.throughput import LIMIT, NAMESPACE, install, make_projects
from devcluster import Cluster
from devcluster.build import find_programs
from devcluster.images import BUSYBOX
from devcluster.ports import free_port
from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, VERSION
from projectsetup.projects.migrate import migrate

ROUNDS: Final = 5
ROUNDS_OF_MANY: Final = 7
STEPS: Final = 7
AT_ONCE: Final = 20
SETTLED: Final = 3.0
"""Seconds after which the controllers have written all that a Job's end makes them write."""
NOT_COUNTED: Final = {"leases", "nodes", "tokenreviews", "subjectaccessreviews", "serviceaccounts"}
"""What is written all the time, or is not kept."""
_REQUESTS: Final = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)

TEXT: Final = """\
Setups of seven steps that do nothing, as Kubernetes Jobs on a real node, from their creation to their end, beside bare
Jobs that run the same: all steps in one container, and each in one of its own. The writes are all that the API server
takes for one of them, also from the kubelet, the scheduler and the controllers; how many these write depends on
whether the kubelet, which looks once a second, sees the container run."""

Names = list[str]


@dataclass(frozen=True, slots=True)
class Contender:
    """`create` makes the objects of these names; `over` tells whether such an object has come to its good end."""

    name: str
    create: Callable[[Names], None]
    listing: Callable[..., Any]
    over: Callable[[Any], bool]
    took: list[float] = field(default_factory=list)
    wrote: list[float] = field(default_factory=list)


def measure(*, quick: bool) -> Findings:  # noqa: ARG001  # it has no small form, and is left out then
    """Run all in turn, several rounds: one by one, then many at once."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder) / "cluster", node=True)
        cluster.up()
        try:
            with _operator(cluster, Path(folder)):
                return _measure_on(Bench(cluster))
        finally:
            cluster.down()


def _measure_on(bench: Bench) -> Findings:
    ours, ours_apart = bench.setups("one-stage"), bench.setups("stages")
    one, seven = bench.jobs(1), bench.jobs(STEPS)
    for contender in (ours, one):
        bench.run(contender, 1)  # the first pod of an image is slower
    for _ in range(ROUNDS):
        for contender in (ours, one, ours_apart, seven):
            seconds, writes = bench.run(contender, 1)
            contender.took.append(seconds)
            contender.wrote.append(writes)
    many = [bench.setups("one-stage"), bench.jobs(1)]
    for _ in range(ROUNDS_OF_MANY):
        for contender in many:
            seconds, writes = bench.run(contender, AT_ONCE)
            contender.took.append(seconds)
            contender.wrote.append(writes)
    return Findings(
        title="Jobs",
        text=TEXT,
        goals=[
            _more_seconds(ours, one),
            _more_seconds(ours_apart, seven),
            _more_writes("one stage", many),
            _more_writes("seven stages", (ours_apart, seven)),
            at_least(f"{AT_ONCE} at once, beside bare Jobs", 90, 100 * _typical(many[1]) / _typical(many[0]), "%"),
            at_least(f"{AT_ONCE} at once, setups a minute", 120, 60 * AT_ONCE / _typical(many[0])),
        ],
        comparisons=[
            *_comparisons(f"{STEPS} steps that do nothing, one container", (ours, one)),
            *_comparisons(f"{STEPS} steps that do nothing, {STEPS} containers", (ours_apart, seven)),
            *_comparisons(f"{AT_ONCE} at once, one container each", many),
        ],
    )


def _more_seconds(ours: Contender, bare: Contender) -> Goal:
    return at_most(f"seconds more than a {bare.name}", 0.5, _typical(ours) - _typical(bare), "s")


def _more_writes(what: str, pair: Sequence[Contender]) -> Goal:
    """Four of the operator, and the one that makes the ProjectSetup."""
    ours, bare = pair
    return at_most(f"writes more than a bare Job, {what}", 5, median(ours.wrote) - median(bare.wrote))


def _comparisons(what: str, contenders: Sequence[Contender]) -> list[Comparison]:
    took = [Measured(name=contender.name, rounds=contender.took) for contender in contenders]
    wrote = [Measured(name=contender.name, rounds=contender.wrote) for contender in contenders]
    return [Comparison(title=what, unit="s", contenders=took), Comparison(title=what, unit="writes", contenders=wrote)]


def _typical(contender: Contender) -> float:
    return median(contender.took)


class Bench:
    """One node, on which one contender runs at a time."""

    def __init__(self, cluster: Cluster) -> None:
        api = config.new_client_from_config(str(cluster.kubeconfig))
        self._objects = client.CustomObjectsApi(api)
        self._database_url = cluster.database_url
        self._kubectl = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"]

    def setups(self, recipe: str) -> Contender:
        """ProjectSetups of one recipe."""

        def create(names: Names) -> None:
            asyncio.run(make_projects(self._database_url, names))
            for name in names:
                body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": {"recipe": recipe}}
                self._objects.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, body)

        def listing(**options: Any) -> Any:
            return self._objects.list_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, **options)

        def over(body: Any) -> bool:
            phase = body.get("status", {}).get("phase")
            if phase in {"Failed", "Cancelled"}:
                raise RuntimeError(f"a setup ended as {body['status']}")
            return bool(phase == "Succeeded")

        return Contender("this operator", create, listing, over)

    def jobs(self, containers: int) -> Contender:
        """Bare Jobs of so many containers, all but the last of them init containers."""

        def create(names: Names) -> None:
            for name in names:
                self._objects.create_namespaced_custom_object(
                    "batch", "v1", NAMESPACE, "jobs", _bare_job(name, containers)
                )

        def listing(**options: Any) -> Any:
            return self._objects.list_namespaced_custom_object("batch", "v1", NAMESPACE, "jobs", **options)

        def over(job: Any) -> bool:
            conditions = job.get("status", {}).get("conditions", ())
            return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)

        plural = "containers" if containers > 1 else "container"
        return Contender(f"bare Job of {containers} {plural}", create, listing, over)

    def run(self, contender: Contender, count: int) -> tuple[float, float]:
        """Seconds from before the creation until all are over, and writes to the API server for one of them."""
        names = [str(uuid4()) for _ in range(count)]
        before = self._writes()
        listed = contender.listing(limit=1)
        version = (
            listed["metadata"]["resourceVersion"] if isinstance(listed, dict) else listed.metadata.resource_version
        )
        began = time.perf_counter()
        contender.create(names)
        self._until_over(contender, set(names), version)
        took = time.perf_counter() - began
        time.sleep(SETTLED)
        return took, (self._writes() - before) / count

    def _until_over(self, contender: Contender, left: set[str], version: str) -> None:
        stream = watch.Watch().stream(contender.listing, resource_version=version, timeout_seconds=int(LIMIT))
        for event in stream:
            body = event["object"]
            name = body["metadata"]["name"]
            if name in left and contender.over(body):
                left.discard(name)
                if not left:
                    return
        raise RuntimeError(f"{contender.name}: {len(left)} were not over after {LIMIT} s")

    def _writes(self) -> float:
        command = [*self._kubectl, "get", "--raw", "/metrics"]
        return sum(_counted(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _counted(metrics: str) -> Iterator[float]:
    for match in _REQUESTS.finditer(metrics):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        if labels["verb"] in {"POST", "PUT", "PATCH", "APPLY", "DELETE"} and labels["resource"] not in NOT_COUNTED:
            yield float(match["count"])


def _bare_job(name: str, containers: int) -> dict[str, Any]:
    """As many steps as ours, shared by the containers."""
    script = "\n".join(["sh -euc :"] * (STEPS // containers))
    made = [{"name": f"c{number}", "image": BUSYBOX, "command": ["sh", "-c", script]} for number in range(containers)]
    pod = {"restartPolicy": "Never", "initContainers": made[:-1], "containers": made[-1:]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{name}"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


@contextmanager
def _operator(cluster: Cluster, folder: Path) -> Iterator[None]:
    recipes = folder / "recipes"
    recipes.mkdir()
    for name, isolate in (("one-stage", "false"), ("stages", "true")):
        steps = "".join(
            f"- {{name: s{number}, status: initializing, run: ':', isolate: {isolate}}}\n" for number in range(STEPS)
        )
        (recipes / f"{name}.yaml").write_text(f"name: {name}\nimage: {BUSYBOX}\nsteps:\n{steps}")
    install(cluster)
    migrate(cluster.database_url)
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "DATABASE_URL": cluster.database_url,
        "PROJECTSETUP_ENGINE": "job",
        "PROJECTSETUP_RECIPES_DIR": str(recipes),
        "PROJECTSETUP_CONCURRENCY": str(AT_ONCE),
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
