"""The cluster on which contenders run, one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, LiteralString, Self
from uuid import uuid4

import psycopg

from benchmarks.usage import cpu_seconds
from benchmarks.wire import COLLECTION, EVENTS, MERGE_PATCH, NAMESPACE, WRITES, Body, Wire, in_parallel, requests_taken
from devcluster import Cluster
from devcluster.build import find_programs
from devcluster.ports import free_port
from projectsetup.api.constants import API_VERSION, KIND, PLURAL
from projectsetup.kube.queue_config import CONFIG_MAP
from projectsetup.projects.migrate import migrate

ROOT: Final = Path(__file__).parents[1]
LIMIT: Final = 1200.0
"""Seconds that anything may take."""
STATISTICS_DELAY: Final = 11.0
"""Seconds after which PostgreSQL counts what an idle connection has done."""
_PARTS: Final = ("apiserver", "etcd", "postgres")


class Arena:
    """One devcluster with the CRD and the tables; `folder` is for recipes, logs and what steps write."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.recipes = folder / "recipes"
        self.recipes.mkdir()
        self.wire = Wire(cluster.kubeconfig)
        self._database = cluster.database_url
        self._asking = psycopg.connect(self._database, autocommit=True)
        self._asked = 0

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """A new one, which is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            cluster = Cluster(Path(name) / "cluster")
            cluster.up()
            try:
                install(cluster)
                migrate(cluster.database_url)
                yield cls(cluster, Path(name))
            finally:
                cluster.down()

    def recipe(self, name: str, *scripts: str) -> None:
        """A recipe of these steps."""
        steps = "".join(
            f"- {{name: s{number}, status: initializing, run: {json.dumps(script)}}}\n"
            for number, script in enumerate(scripts)
        )
        (self.recipes / f"{name}.yaml").write_text(f"name: {name}\nimage: none\nsteps:\n{steps}")

    def projects(self, count: int) -> list[str]:
        """So many new projects; their ids."""
        names = [str(uuid4()) for _ in range(count)]
        with psycopg.connect(self._database) as connection:
            connection.execute(
                "INSERT INTO projects (id, name, code_repo) SELECT id::uuid, id, 'https://git.example/' || id || '.git'"
                " FROM unnest(%s::text[]) AS id",
                [names],
            )
        return names

    def create(
        self,
        names: Sequence[str],
        recipe: str,
        annotations: Callable[[str], Body] = lambda _: {},
        status: Body | None = None,
    ) -> None:
        """A ProjectSetup for each, with this status where one is given."""

        def make(name: str) -> None:
            metadata = {"name": name, "annotations": annotations(name)}
            body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": {"recipe": recipe}}
            self.wire.call("POST", COLLECTION, body)
            if status is not None:
                self.wire.call("PATCH", f"{COLLECTION}/{name}/status", {"status": status}, MERGE_PATCH)

        in_parallel(make, names)

    def clear(self) -> None:
        """Delete all ProjectSetups, their events, and all projects."""
        for collection in (COLLECTION, EVENTS):
            self.wire.call("DELETE", collection)
        until(lambda: self.all_in("Gone"), "all ProjectSetups to be gone")
        self.ask("DELETE FROM projects RETURNING 1")

    def in_phase(self, phase: str) -> int:
        """How many ProjectSetups are in this phase."""
        return len(self.wire.get(f"{COLLECTION}?fieldSelector=status.phase%3D{phase}")["items"])

    def all_in(self, phase: str) -> bool:
        """Whether no ProjectSetup is in another phase; cheap when that is so."""
        return not self.wire.get(f"{COLLECTION}?limit=1&fieldSelector=status.phase!%3D{phase}")["items"]

    def ready(self) -> int:
        """How many projects are `ready`."""
        return int(self.ask("SELECT count(*) FROM projects WHERE status = 'ready'")[0][0])

    def ask(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        """The answer of the database."""
        self._asked += 1
        return self._asking.execute(statement).fetchall()

    def transactions(self) -> int:
        """Transactions that were counted so far, without those of `ask`."""
        statement = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return int(self.ask(statement)[0][0]) - self._asked

    def writes(self) -> float:
        """Writes of ProjectSetups that the API server has taken, their status included."""
        return self._requests(WRITES)

    def lists(self) -> float:
        """Pages of lists of ProjectSetups that the API server has handed out."""
        return self._requests({"LIST"})

    def _requests(self, verbs: Collection[str]) -> float:
        metrics = self.wire.call("GET", "/metrics").decode()
        return sum(count for asked, count in requests_taken(metrics, verbs) if asked == PLURAL)

    def queue(self, *, paused: bool, concurrency: int) -> None:
        """Pause the queue or let it go on."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
        body = {
            "metadata": {"name": CONFIG_MAP},
            "data": {"paused": str(paused).lower(), "concurrency": f"{concurrency}"},
        }
        if any(found["metadata"]["name"] == CONFIG_MAP for found in self.wire.get(path)["items"]):
            self.wire.call("PATCH", f"{path}/{CONFIG_MAP}", body, MERGE_PATCH)
        else:
            self.wire.call("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", **body})

    def part_seconds(self) -> dict[str, float]:
        """CPU seconds of API server, etcd and PostgreSQL."""
        pids = {name: (self.cluster.directory / f"{name}.pid").read_text().split()[0] for name in _PARTS}
        return {name: cpu_seconds(int(pid)) for name, pid in pids.items()}

    @contextmanager
    def operator(self, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
        """Our operator, ready."""
        port = free_port()
        own = {"PROJECTSETUP_RECIPES_DIR": str(self.recipes), "PROJECTSETUP_HTTP_PORT": str(port)}
        command = [sys.executable, "-m", "projectsetup", "operator"]
        with self.process("operator", command, {**own, **(environment or {})}) as process:
            process.port = port
            until(process.is_ready, "the operator to be ready", alive=process)
            yield process

    @contextmanager
    def process(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Process]:
        """A contender in a process of its own, which ends with the block."""
        known = {"KUBECONFIG": str(self.cluster.kubeconfig), "DATABASE_URL": self._database}
        with (self.folder / f"{name}.log").open("ab") as log:
            began = time.perf_counter()
            popen = subprocess.Popen(
                command, env={**os.environ, **known, **environment}, stdout=log, stderr=log, cwd=ROOT
            )
        try:
            yield Process(popen, self.folder / f"{name}.log", began)
        finally:
            popen.terminate()
            popen.wait(120)


class Process:
    """A contender that runs."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path, began: float) -> None:
        self.began = began
        """`time.perf_counter()` when it was started."""
        self.pid = popen.pid
        self.port = 0
        self._popen = popen
        self._log = log

    def is_ready(self) -> bool:
        """Whether it answers as ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004
        except (urllib.error.URLError, OSError):
            return False

    def check(self) -> None:
        """RuntimeError when it has ended."""
        if self._popen.poll() is not None:
            raise RuntimeError(f"it ended with {self._popen.returncode}: {self._log.read_text()[-2000:]}")


def install(cluster: Cluster) -> None:
    """Install the CRD; returns when it is served."""
    kubectl = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"]
    crd = str(ROOT / "crds" / "projectsetups.yaml")
    subprocess.run([*kubectl, "apply", "--server-side", "-f", crd], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*kubectl, "wait", "--for=condition=Established", "-f", crd], check=True, stdout=subprocess.DEVNULL)


def until(
    condition: Callable[[], bool], what: str, *, alive: Process | None = None, every: float = 0.05, limit: float = LIMIT
) -> None:
    """Return when the condition holds; RuntimeError tells `what` was waited for."""
    end = time.monotonic() + limit
    while not condition():
        if alive is not None:
            alive.check()
        if time.monotonic() > end:
            raise RuntimeError(f"waited {limit:.0f} s for {what}")
        time.sleep(every)
