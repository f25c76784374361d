"""A fault run whose attempts are Jobs on a real node, everything observed of them, and what must hold at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml
from kubernetes import client, config

from devcluster import Cluster
from devcluster.images import BUSYBOX
from tests.support.chaos.fault_run import FaultRun, FaultSetup
from tests.support.chaos.invariants import Figures, ReportedAttempts, check_invariants
from tests.support.chaos.process_watcher import AttemptProcess, PodWatcher
from tests.support.chaos.setup_history import Body
from tests.support.databases import create_database
from tests.support.node.job_history import JobHistory, ObjectVersion
from tests.support.node.step_server import StepServer
from tests.support.operator_process import wait_for

REPORT: Final = """\
report() { echo "report $PROJECT_ID $ATTEMPT $(hostname) $1" | nc $PARAM_SERVER || true; }
"""
WAIT: Final = 'until test "$(echo "wait $PROJECT_ID" | nc $PARAM_SERVER)" = go; do sleep 0.2; done'
BEGIN: Final = f"""\
{REPORT}
report begin
if [ "$PARAM_BEHAVIOR" = forking ]; then
  (trap '' TERM; exec setsid sleep 600) &
  setsid sh -c 'trap "" TERM; setsid sleep 600 & cd /; sleep 600' &
fi
sleep "$PARAM_SECONDS"
"""
WORK: Final = f"""\
{REPORT}
case "$PARAM_BEHAVIOR" in
  sigterm-proof) trap '' TERM ;;
  lingering) trap 'report stopping' TERM ;;
esac
report work
case "$PARAM_BEHAVIOR" in
  transient) test "$ATTEMPT" -ge 2 || exit 75 ;;
  failing) exit 9 ;;
  lingering) for i in 1 2 3 4; do sleep "$PARAM_SECONDS" || true; done ;;
  gated|sigterm-proof) {WAIT} ;;
esac
sleep "$PARAM_SECONDS"
report worked
"""
FINISH: Final = f"""\
{REPORT}
echo "CODE_COMMIT=$(printf '%s' "$PROJECT_ID" | sha1sum | cut -d' ' -f1)" >> "$STEP_OUTPUTS"
report end
"""
LITTLE: Final[Body] = {
    "requests": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "16Mi"},
    "limits": {"memory": "128Mi", "ephemeral-storage": "256Mi"},
}
"""Resources that let many pods fit on the node."""
COUNT: Final = """\
trap 'echo "stopping at $i"; exit 1' TERM
echo "wait $PROJECT_ID" | nc $PARAM_SERVER >go &
i=0
until test -s go; do
  for _ in 1 2 3 4 5 6 7 8 9 10; do i=$((i + 1)); echo "count $i"; done
  sleep 0.05
done
echo "counted $i"
"""
"""Prints 200 numbered lines a second until its project may continue."""
FINISH_STEP: Final[Body] = {"name": "finish", "status": "committing", "run": FINISH, "isolate": True}
HEAD: Final[Body] = {
    "description": "Reports to a server outside the pod; its last step has its own container",
    "image": BUSYBOX,
    "resources": LITTLE,
    "parameters": {"server": {}, "behavior": {"default": "quick"}, "seconds": {"default": "0.1"}},
}
RECIPES: Final[dict[str, list[Body]]] = {
    "fault-test": [
        {"name": "begin", "status": "initializing", "run": BEGIN},
        {"name": "work", "status": "testing", "run": WORK},
        FINISH_STEP,
    ],
    "single": [FINISH_STEP],
    "counting": [
        {"name": "begin", "status": "initializing", "run": "for i in $(seq 1000); do echo begin $i; done"},
        {"name": "count", "status": "testing", "run": COUNT},
        {
            "name": "finish",
            "status": "committing",
            "run": "for i in $(seq 1000); do echo finish $i; done",
            "isolate": True,
        },
    ],
    "traced": [
        {"name": "first", "status": "initializing", "run": 'echo "$TRACEPARENT"'},
        {"name": "second", "status": "committing", "run": 'echo "$TRACEPARENT"', "isolate": True},
    ],
}
"""The steps of each recipe."""


class JobFaultRun(FaultRun):
    """Observes while it is entered; leaving it ends its operators and deletes its namespace."""

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
        self.job_history = JobHistory(cluster.kubeconfig, self.sandbox.api.namespace)
        api: Any = config.new_client_from_config(str(cluster.kubeconfig))
        self._pods: Any = client.CoreV1Api(api)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.job_history)
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__(*_)
        self.sandbox.api.kubectl("delete", "namespace", self.sandbox.api.namespace, "--wait=false")

    def submit(
        self,
        behavior: str,
        *,
        seconds: float = 0.1,
        annotations: dict[str, str] | None = None,
        recipe: str = "fault-test",
    ) -> FaultSetup:
        """Create a project and its ProjectSetup with one of RECIPES."""
        parameters = {"server": self.step_server.address, "behavior": behavior, "seconds": f"{seconds:.2f}"}
        return self._submit(recipe, behavior, parameters, annotations)

    def starts(self) -> dict[str, dict[int, int]]:
        """Return how many Jobs of each attempt number of each project ran."""
        return self.job_history.starts()

    def was_released(self, project: str, number: int) -> bool:
        """Return whether an attempt was ever released."""
        return ReportedAttempts.read(self.history.versions[project]).released[number] > 0

    def await_work(self, *setups: FaultSetup, times: int = 1) -> None:
        """Return once the second step of these setups has begun so many times."""
        for setup in setups:
            self.step_server.await_report(setup.name, "work", times=times)

    def first_at(self, setup: FaultSetup, phase: str) -> int:
        """Return the first revision at which `.status` had this phase."""
        self.history.catch_up()
        return next(
            version.revision for version in self.history.versions[setup.name] if version.status.get("phase") == phase
        )

    def pod(self, setup: FaultSetup) -> ObjectVersion:
        """Return its one live pod."""
        (name,) = self.job_history.living_pods(setup.name)
        return self.job_history.pods[name][-1]

    def processes_of(self, setup: FaultSetup) -> list[AttemptProcess]:
        """Return the live processes of its pods."""
        return self.watcher.living({setup.name})

    def evict(self, pod: str) -> None:
        """Evict the pod through the eviction API, as a drain does."""
        metadata = {"name": pod, "namespace": self.sandbox.api.namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        self._pods.create_namespaced_pod_eviction(pod, self.sandbox.api.namespace, body, _request_timeout=20)

    def await_job_end(self, setup: FaultSetup) -> None:
        """Return once its newest Job has ended, whether an operator runs or not."""
        wait_for(lambda: self.job_history.jobs_of(setup.name)[-1].has("Complete", "Failed"), "the Job to end", limit=60)


@contextmanager
def job_fault_run(cluster: Cluster, folder: Path, watcher: PodWatcher, **settings: str) -> Iterator[JobFaultRun]:
    """A fault run with its own database; `settings` are those of its operators."""
    url = create_database(cluster.database_url)
    with (
        StepServer(cluster.gateway) as step_server,
        JobFaultRun(folder, cluster, url, watcher, step_server, **settings) as run,
    ):
        yield run


@dataclass(frozen=True, slots=True)
class JobFigures:
    """Counts; `setups` are those that every engine has."""

    setups: Figures
    jobs: int
    pods: int
    disrupted: int
    """Pods that the cluster evicted or lost."""
    tombstones: int

    def __str__(self) -> str:
        return (
            f"{self.setups}; {self.jobs} Jobs and {self.tombstones} tombstones, {self.pods} pods, "
            f"{self.disrupted} of them disrupted and replaced; never two of a project ran at once"
        )


def check_job_invariants(run: JobFaultRun) -> JobFigures:
    """Check every version of Jobs, pods and setups that was observed, and count them."""
    job_history = run.job_history
    job_history.catch_up()
    overlaps = job_history.overlaps(run.setups)
    assert overlaps == [], f"two pods of a project ran at once: {overlaps[:3]}"
    unexplained = job_history.unexplained_pods(run.setups)
    assert unexplained == [], f"pods of Jobs that had one already: {unexplained[:3]}"
    for project, numbers in job_history.starts().items():
        started_again = {number: jobs for number, jobs in numbers.items() if jobs > 1}
        released = {number for number in started_again if run.was_released(project, number)}
        assert started_again.keys() == released, f"{project}: attempts that ran as several Jobs: {started_again}"
    pods = [pod for project in run.setups for pod in job_history.pods_of(project)]
    return JobFigures(
        setups=check_invariants(run),
        jobs=sum(len(job_history.jobs_of(project)) for project in run.setups),
        pods=len(pods),
        disrupted=sum(job_history.was_disrupted(pod.name) for pod in pods),
        tombstones=sum(len(job_history.tombstones_of(project)) for project in run.setups),
    )
