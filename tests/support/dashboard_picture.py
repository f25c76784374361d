"""`python -m tests.support.dashboard_picture` redraws docs/screens/grafana-dashboard.png from a real run.

Two operators set up projects while more arrive than there are slots, the queue is paused, the database is unavailable
and the leader exits. A real Prometheus scrapes them and answers the queries of the dashboard.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from devcluster import Cluster
from monitoring.picture import page, take_screenshot
from monitoring.prometheus import running
from projectsetup.projects.migrate import migrate
from tests.support.manifests import ROOT
from tests.support.operator_process import OperatorProcess, wait_for
from tests.support.operator_sandbox import Sandbox
from tests.support.setup_handle import Setup
from tests.support.tcp_proxy import TcpProxy, through

TARGET: Final = ROOT / "docs" / "screens" / "grafana-dashboard.png"
SECONDS: Final = 360.0
"""Duration of the run."""
PAUSED: Final = (0.30, 0.38)
DATABASE_DOWN: Final = (0.55, 0.60)
LEADER_ENDS: Final = 0.78
"""The times of the incidents, as fractions of the run."""

_STEP: Final = """\
- name: {name}
  status: {status}
  run: |
    sleep "$(shuf --input-range={least}-{most} --head-count=1)e-2"
    [ "$(shuf --input-range=1-{odds} --head-count=1)" -gt 1 ] || exit {code}
"""
_RECIPES: Final = {
    "python-service": (
        ("generate", "initializing", 10, 40, 1000, 1),
        ("install", "deps_installing", 60, 160, 18, 75),
        ("test", "testing", 40, 110, 30, 1),
        ("push", "committing", 20, 60, 25, 75),
    ),
    "static-site": (("build", "compiling", 30, 90, 1000, 1), ("publish", "committing", 10, 50, 40, 75)),
}


def main() -> int:
    """Draw the picture."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        cluster = Cluster(folder / "cluster")
        cluster.up()
        try:
            TARGET.parent.mkdir(exist_ok=True)
            _draw(cluster, folder)
        finally:
            cluster.down()
    print(TARGET)
    return 0


def _draw(cluster: Cluster, folder: Path) -> None:
    migrate(cluster.database_url)
    recipes = folder / "recipes"
    recipes.mkdir()
    for recipe, steps in _RECIPES.items():
        keys = ("name", "status", "least", "most", "odds", "code")
        text = "".join(_STEP.format(**dict(zip(keys, step, strict=True))) for step in steps)
        head = f"name: {recipe}\ndescription: for the picture\nimage: busybox\nsteps:\n"
        (recipes / f"{recipe}.yaml").write_text(head + text)
    port = int(cluster.database_url.rpartition(":")[2].partition("/")[0])
    with TcpProxy(port) as proxy:
        settings: dict[str, Any] = {"leader_election": "true", "concurrency": "4", "recipes_dir": str(recipes)}
        environment = {"DATABASE_URL": through(cluster.database_url, proxy)}
        sandbox = Sandbox(
            folder / "first",
            kubeconfig=cluster.kubeconfig,
            database_url=cluster.database_url,
            environment=environment,
            **settings,
        )
        sandbox.api.kubectl("create", "configmap", "projectsetup-queue")
        second = OperatorProcess(
            folder / "second",
            kubeconfig=cluster.kubeconfig,
            database_url=cluster.database_url,
            environment=environment,
            namespaces=sandbox.api.namespace,
            operator_namespace=sandbox.api.namespace,
            **settings,
        )
        targets = {"operator-1": sandbox.operator.port, "operator-2": second.port}
        with _started(sandbox.operator, second), running(folder, targets=targets, interval="2s") as prometheus:
            start = time.time()
            _work(sandbox, proxy)
            take_screenshot(page(prometheus, start=start, end=time.time(), interval="20s"), TARGET)


@contextmanager
def _started(leader: OperatorProcess, standby: OperatorProcess) -> Iterator[None]:
    try:
        leader.start()
        wait_for(leader.leads, "the first operator to lead")
        standby.start()
        yield
    finally:
        leader.close()
        standby.close()


def _work(sandbox: Sandbox, proxy: TcpProxy) -> None:
    rng, began, paused = random.Random(6), time.monotonic(), False  # noqa: S311  # the picture needs no secrecy
    while (share := (time.monotonic() - began) / SECONDS) < 1:
        wanted = PAUSED[0] < share < PAUSED[1]
        if wanted is not paused:
            paused = wanted
            patch = json.dumps({"data": {"paused": str(paused).lower()}})
            sandbox.api.kubectl("patch", "configmap", "projectsetup-queue", "--type=merge", "-p", patch)
        down = DATABASE_DOWN[0] < share < DATABASE_DOWN[1]
        if down is proxy.is_open:
            proxy.close() if down else proxy.open()
        if share > LEADER_ENDS and sandbox.operator.alive:
            sandbox.operator.terminate()
        recipe = rng.choices(tuple(_RECIPES), weights=(2, 1))[0]
        priority = rng.choices((0, 1, 5, 9), weights=(1, 6, 2, 1))[0]
        annotations = {"priority": str(priority), "backoff": "5s", "max_attempts": "2"}
        setup = Setup.make(sandbox, recipe, annotations=annotations)
        if rng.random() < 0.04:
            setup.annotate(cancel_requested_at="1")
        elif rng.random() < 0.03:
            setup.annotate(retry_requested_at="1")
        crowded = share < 0.18 or 0.42 < share < 0.52
        time.sleep(rng.expovariate(2.2 if crowded else 1.0))


if __name__ == "__main__":
    sys.exit(main())
