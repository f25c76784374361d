"""The cluster on which contenders run one at a time, and a cheap HTTP client for its API server."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPSConnection, RemoteDisconnected
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple, Self
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import yaml

from benchmarks import controllers
from benchmarks.machine import cpu_seconds
from devcluster import Cluster
from devcluster.build import find_programs
from devcluster.ports import free_port
from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, VERSION
from projectsetup.kube.queue_config import CONFIG_MAP
from projectsetup.projects.migrate import migrate

Body = dict[str, Any]
NAMESPACE: Final = "default"
COLLECTION: Final = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
EVENTS: Final = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
MERGE_PATCH: Final = "application/merge-patch+json"
WRITES: Final = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})
_REQUESTS: Final = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
_AT_ONCE: Final = 4
_LIMIT: Final = 60
ROOT: Final = Path(__file__).parents[1]
LIMIT: Final = 1200.0
"""Timeout in seconds of every wait."""
STATISTICS_DELAY: Final = 11.0
"""Seconds until PostgreSQL publishes the statistics of an idle connection."""
_PORT: Final = "PROJECTSETUP_HTTP_PORT"
_PARTS: Final = ("apiserver", "etcd", "postgres")


class Wire:
    """A minimal client of the API server with one connection per thread."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._trusted = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._address = urlsplit(cluster["server"]).netloc
        self._login = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        self._mine = threading.local()

    def call(self, method: str, path: str, body: Body | None = None, content_type: str = "application/json") -> bytes:
        """The response body; RuntimeError unless the status is a success."""
        if not hasattr(self._mine, "connection"):
            self._mine.connection = self._connect()
        connection: HTTPSConnection = self._mine.connection
        text = None if body is None else json.dumps(body)
        headers = {**self._login, "Content-Type": content_type}
        try:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
        except RemoteDisconnected:  # the connection was idle for too long
            connection.close()
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:  # noqa: PLR2004
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content

    def get(self, path: str) -> Body:
        """The object at `path`."""
        found: Body = json.loads(self.call("GET", path))
        return found

    def watch(self, since: str) -> Iterator[bytes]:
        """Watch ProjectSetups from this resourceVersion; one event per line."""
        connection = self._connect()
        path = f"{COLLECTION}?watch=1&resourceVersion={since}"
        connection.request("GET", path, headers=self._login)
        answer = connection.getresponse()
        yield from answer

    def _connect(self) -> HTTPSConnection:
        return HTTPSConnection(self._address, context=ssl.create_default_context(cadata=self._trusted), timeout=_LIMIT)


def requests_taken(metrics: str, verbs: Collection[str]) -> Iterator[tuple[str, float]]:
    """For each request counter of these verbs: the resource and the number of requests."""
    for found in _REQUESTS.finditer(metrics):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', found["labels"]))
        if labels["verb"] in verbs:
            yield labels["resource"], float(found["count"])


def in_parallel(work: Callable[[str], object], names: Sequence[str]) -> None:
    """Call `work` for all names, a few concurrently."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(work, names):
            pass


class Arena:
    """A devcluster with the CRD and the database schema; `folder` holds recipes, logs and the output of steps."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.recipes = folder / "recipes"
        self.recipes.mkdir()
        self.python = [sys.executable]
        """The command that runs Python for the operator and the kopf operator."""
        self.wire = Wire(cluster.kubeconfig)
        self._database = cluster.database_url
        self._connection = psycopg.connect(self._database, autocommit=True)
        self._statements = 0

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """A new arena, removed at the end."""
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
        """Add a recipe of these steps."""
        steps = "".join(
            f"- {{name: s{number}, status: initializing, run: {json.dumps(script)}}}\n"
            for number, script in enumerate(scripts)
        )
        (self.recipes / f"{name}.yaml").write_text(f"name: {name}\nimage: none\nsteps:\n{steps}")

    def projects(self, count: int) -> list[str]:
        """Create `count` projects; their ids."""
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
        """Create a ProjectSetup for each name, with `status` if given."""

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
        until(lambda: self.all_in("Gone"), "all ProjectSetups to be deleted")
        self.query("DELETE FROM projects RETURNING 1")

    def in_phase(self, phase: str) -> int:
        """The number of ProjectSetups in this phase."""
        return len(self.wire.get(f"{COLLECTION}?fieldSelector=status.phase%3D{phase}")["items"])

    def all_in(self, phase: str) -> bool:
        """Whether all ProjectSetups are in this phase; cheap if they are."""
        return not self.wire.get(f"{COLLECTION}?limit=1&fieldSelector=status.phase!%3D{phase}")["items"]

    def ready(self) -> int:
        """The number of projects that are `ready`."""
        return int(self.query("SELECT count(*) FROM projects WHERE status = 'ready'")[0][0])

    def query(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """The result of an SQL statement with these values."""
        self._statements += 1
        return self._connection.execute(statement, values or None).fetchall()

    def transactions(self) -> int:
        """The number of transactions so far, without those of this arena."""
        statement = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return int(self.query(statement)[0][0]) - self._statements

    def writes(self) -> float:
        """The number of writes of ProjectSetups and their status that the API server has accepted."""
        return self._requests(WRITES)

    def lists(self) -> float:
        """The number of list requests for ProjectSetups, by page."""
        return self._requests({"LIST"})

    def _requests(self, verbs: Collection[str]) -> float:
        metrics = self.wire.call("GET", "/metrics").decode()
        return sum(count for resource, count in requests_taken(metrics, verbs) if resource == PLURAL)

    def queue(self, *, paused: bool, concurrency: int) -> None:
        """Pause or resume the queue."""
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
        """CPU seconds of the API server, etcd and PostgreSQL."""
        pids = {name: (self.cluster.directory / f"{name}.pid").read_text().split()[0] for name in _PARTS}
        return {name: cpu_seconds(int(pid)) for name, pid in pids.items()}

    @contextmanager
    def operator(self, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
        """Run the operator, ready."""
        start = self.operator_start(environment)
        with self.process(start) as process:
            process.port = int(start.environment[_PORT])
            until(process.is_ready, "the operator to be ready", alive=process)
            yield process

    def operator_start(self, environment: Mapping[str, str] | None = None) -> Start:
        """How to start the operator."""
        own = {"PROJECTSETUP_RECIPES_DIR": str(self.recipes), _PORT: str(free_port())}
        command = [*self.python, "-m", "projectsetup", "operator"]
        return Start("operator", command, {**own, **(environment or {})})

    @contextmanager
    def process(self, start: Start) -> Iterator[Process]:
        """Run a contender as a process until the end of the block."""
        environment = {**os.environ, **self._servers(), **start.environment}
        with self._log(start).open("ab") as log:
            began = time.perf_counter()
            popen = subprocess.Popen(start.command, env=environment, stdout=log, stderr=log, cwd=ROOT)
        try:
            yield Process(popen, self._log(start), began)
        finally:
            popen.terminate()
            popen.wait(120)

    def controller(self, start: Start) -> controllers.Process:
        """A contender as a process that can be killed and started again; not yet started."""
        return controllers.Process(start.command, {**self._servers(), **start.environment}, self._log(start))

    def _servers(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.cluster.kubeconfig), "DATABASE_URL": self._database}

    def _log(self, start: Start) -> Path:
        return self.folder / f"{start.name}.log"


class Start(NamedTuple):
    """How to start a contender: the name of its log, its command, and what it needs beside the servers."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class TimedOut(RuntimeError):
    """Something did not happen within its limit."""


class Process:
    """A running contender."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path, began: float) -> None:
        self.began = began
        """`time.perf_counter()` at its start."""
        self.pid = popen.pid
        self.port = 0
        self._popen = popen
        self._log = log

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004
        except (urllib.error.URLError, OSError):
            return False

    def check(self) -> None:
        """Raise RuntimeError if it has exited."""
        if self._popen.poll() is not None:
            raise RuntimeError(f"the contender exited with {self._popen.returncode}: {self._log.read_text()[-2000:]}")


def install(cluster: Cluster) -> None:
    """Install the CRD and wait until it is served."""
    kubectl = [str(find_programs()["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"]
    crd = str(ROOT / "crds" / "projectsetups.yaml")
    subprocess.run([*kubectl, "apply", "--server-side", "-f", crd], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*kubectl, "wait", "--for=condition=Established", "-f", crd], check=True, stdout=subprocess.DEVNULL)


def until(
    condition: Callable[[], bool], what: str, *, alive: Process | None = None, every: float = 0.05, limit: float = LIMIT
) -> None:
    """Wait until the condition holds; TimedOut, which names `what`, after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if alive is not None:
            alive.check()
        if time.monotonic() > end:
            raise TimedOut(f"timed out after {limit:.0f} s waiting for {what}")
        time.sleep(every)
