"""An fault_run whose attempts are Jobs on a real node, with everything that can be seen of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

import psycopg
import yaml
from kubernetes import client, config

from devcluster import Cluster
from devcluster.images import BUSYBOX
from projectsetup.projects.migrate import migrate
from tests.conftest import on_database
from tests.support.chaos.fault_run import QUICKLY, FaultRun, Setup
from tests.support.chaos.history import Body
from tests.support.chaos.invariants import read_attempts
from tests.support.chaos.watcher import Sight
from tests.support.node.pod_watcher import PodWatcher
from tests.support.node.step_server import StepServer
from tests.support.node.watch_history import Entry, WatchHistory
from tests.support.operator_process import wait_for

TELL: Final = """\
tell() { echo "tell $PROJECT_ID $ATTEMPT $(hostname) $1" | nc $PARAM_SERVER || true; }
"""
WAIT: Final = 'until test "$(echo "wait $PROJECT_ID" | nc $PARAM_SERVER)" = go; do sleep 0.2; done'
BEGIN: Final = f"""\
{TELL}
tell begin
if [ "$PARAM_MOOD" = family ]; then
  (trap '' TERM; exec setsid sleep 600) &
  setsid sh -c 'trap "" TERM; setsid sleep 600 & cd /; sleep 600' &
fi
sleep "$PARAM_SECONDS"
"""
WORK: Final = f"""\
{TELL}
case "$PARAM_MOOD" in
  fortress) trap '' TERM ;;
  stubborn) trap 'tell stopping' TERM ;;
esac
tell work
case "$PARAM_MOOD" in
  transient) test "$ATTEMPT" -ge 2 || exit 75 ;;
  failing) exit 9 ;;
  stubborn) for i in 1 2 3 4; do sleep "$PARAM_SECONDS" || true; done ;;
  gated|fortress) {WAIT} ;;
esac
sleep "$PARAM_SECONDS"
tell worked
"""
FINISH: Final = f"""\
{TELL}
echo "CODE_COMMIT=$(printf '%s' "$PROJECT_ID" | sha1sum | cut -d' ' -f1)" >> "$STEP_OUTPUTS"
tell end
"""
LITTLE: Final[Body] = {
    "requests": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "16Mi"},
    "limits": {"memory": "128Mi", "ephemeral-storage": "256Mi"},
}
"""Resources that let many pods fit on the node."""
FINISH_STEP: Final[Body] = {"name": "finish", "status": "committing", "run": FINISH, "isolate": True}
HEAD: Final[Body] = {
    "description": "Reports to a server outside of the pod, and behaves as its mood says; the last stage is alone",
    "image": BUSYBOX,
    "resources": LITTLE,
    "parameters": {"server": {}, "mood": {"default": "calm"}, "seconds": {"default": "0.1"}},
}
RECIPES: Final[dict[str, list[Body]]] = {
    "tumult": [
        {"name": "begin", "status": "initializing", "run": BEGIN},
        {"name": "work", "status": "testing", "run": WORK},
        FINISH_STEP,
    ],
    "single": [FINISH_STEP],
}
"""Their steps."""


class JobFaultRun(FaultRun):
    """Watches while it is entered; leaving it ends its operators and deletes its namespace."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster,
        database_url: str,
        watcher: PodWatcher,
        step_server: StepServer,
        **settings: str,
    ) -> None:
        recipes = folder / "recipes"
        recipes.mkdir()
        for name, steps in RECIPES.items():
            (recipes / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **HEAD, "steps": steps}))
        super().__init__(
            folder, cluster, database_url, watcher, engine="job", **{"recipes_dir": str(recipes), **settings}
        )
        self.step_server = step_server
        self.watch_history = WatchHistory(cluster.kubeconfig, self.sandbox.api.namespace)
        api: Any = config.new_client_from_config(str(cluster.kubeconfig))
        self._pods: Any = client.CoreV1Api(api)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.watch_history)
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__(*_)
        self.sandbox.api.kubectl("delete", "namespace", self.sandbox.api.namespace, "--wait=false")

    def submit(
        self,
        mood: str,
        *,
        seconds: float = 0.1,
        annotations: dict[str, str] | None = None,
        recipe: str = "tumult",
    ) -> Setup:
        """A new project, and the ProjectSetup for it, by one of RECIPES."""
        project = self.sandbox.project()
        parameters = {"server": self.step_server.place, "mood": mood, "seconds": f"{seconds:.2f}"}
        self.sandbox.apply(project, recipe, annotations={**QUICKLY, **(annotations or {})}, parameters=parameters)
        self.setups[project] = Setup(project, mood)
        return self.setups[project]

    def starts(self) -> dict[str, dict[int, int]]:
        """How many Jobs of each attempt number of each project ran."""
        return self.watch_history.starts()

    def gave_back(self, project: str, number: int) -> bool:
        """Whether an attempt was ever given back."""
        return read_attempts(self.history.versions[project]).given_back[number] > 0

    def works(self, *setups: Setup, times: int = 1) -> None:
        """Return once the second step of these has begun so often."""
        for setup in setups:
            self.step_server.hears(setup.project, "work", times=times)

    def reached(self, setup: Setup, *phases: str, limit: float = 60.0) -> Body:
        """The status once it has one of these phases."""
        return self.sandbox.reached(setup.project, *phases, limit=limit)

    def first_at(self, setup: Setup, phase: str) -> int:
        """The revision at which `.status` had this phase for the first time."""
        self.history.caught_up()
        return next(
            version.revision for version in self.history.versions[setup.project] if version.status.get("phase") == phase
        )

    def pod(self, setup: Setup) -> Entry:
        """Its one pod that is alive."""
        (name,) = self.watch_history.living_pods(setup.project)
        return self.watch_history.pods[name][-1]

    def living_of(self, setup: Setup) -> list[Sight]:
        """The processes of its pods that are alive."""
        return self.watcher.living({setup.project})

    def evict(self, pod: str) -> None:
        """As a drain does, through the eviction API."""
        metadata = {"name": pod, "namespace": self.sandbox.api.namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        self._pods.create_namespaced_pod_eviction(pod, self.sandbox.api.namespace, body, _request_timeout=20)

    def await_over(self, setup: Setup) -> None:
        """Return once its newest Job has ended, whether an operator runs or not."""
        wait_for(
            lambda: self.watch_history.jobs_of(setup.project)[-1].has("Complete", "Failed"),
            "the Job to be over",
            limit=60,
        )


@contextmanager
def job_fault_run(cluster: Cluster, folder: Path, watcher: PodWatcher, **settings: str) -> Iterator[JobFaultRun]:
    """An fault_run with a database of its own; `settings` are those of its operators."""
    name = f"fault_run_{uuid4().hex[:12]}"
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = on_database(cluster.database_url, name)
    migrate(url)
    with (
        StepServer(cluster.gateway) as step_server,
        JobFaultRun(folder, cluster, url, watcher, step_server, **settings) as fault_run,
    ):
        yield fault_run
