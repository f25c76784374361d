"""The attackers are tenants who may do everything to pods, Jobs, their status and ProjectSetups in their namespace.

One has namespace `team-b` and wants to harm the project of another team; the other works in the same namespace as the
project and wants to harm all other projects of the operator. Labels, names, finalizers and status are theirs to write.
What the second does to projects of his own namespace is his business, and must stop there: with one slot for all, every
setup of another namespace must proceed. The operator is the real one, with its own rights, and runs Jobs on a real
node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from devcluster import Cluster
from projectsetup.engines.kubernetes_job.manifest import OURS, PROJECT
from projectsetup.engines.kubernetes_job.plan import PLAN
from projectsetup.kube.jobs import OF_JOB
from tests.support.api_server import ApiServer, Body
from tests.support.attacks.tenant import Tenant
from tests.support.manifests import Kubectl
from tests.support.node.sandboxes import node_sandbox, operator_kubeconfig
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import ENDED, PREFIX, Sandbox, message, reason

START_LIMIT: Final = 10
LIMIT: Final = 150.0
FORGED: Final = "0" * 40
JOB_NAME: Final = "batch.kubernetes.io/job-name"
KEPT: Final = "example.com/kept"


@dataclass
class Scene:
    """The operator serves the namespace of the sandbox, which is team A's, and that of team B."""

    sandbox: Sandbox
    team_b: ApiServer
    near: Tenant
    far: Tenant

    def set_up(self, api: ApiServer, *, first: str = ":", timeout: str = "5m", attempts: int = 1) -> str:
        """A new project whose first step does this; its id."""
        project = self.sandbox.project()
        annotations = {f"{PREFIX}max-attempts": str(attempts), f"{PREFIX}backoff": "1ms"}
        spec = {"recipe": "together", "parameters": {"first": first}, "timeout": timeout}
        api.create(project, spec=spec, annotations=annotations)
        return project

    def status(self, api: ApiServer, project: str) -> Body:
        """Its `.status`."""
        status: Body = api.get(project).get("status", {})
        return status

    def ended(self, api: ApiServer, project: str, *, limit: float = LIMIT) -> Body:
        """Its status once it has ended."""
        try:
            wait_for(lambda: self.status(api, project).get("phase") in ENDED, f"{project} to be over", limit=limit)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; it is {self.status(api, project)}\n{self.sandbox.operator.log_tail()}"
            ) from error
        return self.status(api, project)

    def job_of(self, project: str) -> Body:
        """The Job of a project of team A, once it exists."""

        def there() -> bool:
            run = self.status(self.sandbox.api, project).get("runRef", {})
            return bool(run) and run["name"] in self.near.kubectl("get", "jobs", "--output=name")

        wait_for(there, f"the Job of {project}", limit=LIMIT)
        return self.near.get("job", self.status(self.sandbox.api, project)["runRef"]["name"])

    def seems_to_run(self, name: str, project: str, job: str, uid: str) -> None:
        """The near attacker creates a pod that claims to be controlled by this Job, and that does not go away."""
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid, "controller": True}
        owner["blockOwnerDeletion"] = True
        self.near.make_pod(name, labels={**labels(project), OF_JOB: uid}, controller=owner, finalizers=[KEPT])
        self.says_that_it_runs(name)

    def says_that_it_runs(self, name: str) -> None:
        """The near attacker writes so again, whatever controllers have written meanwhile."""
        self.near.patch("pod", name, {"status": {"phase": "Running"}}, status=True)

    def others_proceed(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """A setup of team B succeeds, which needs the only slot."""
        project = self.set_up(self.team_b)

        def over() -> bool:
            meanwhile()
            return self.status(self.team_b, project).get("phase") in ENDED

        wait_for(over, f"{project} of team B to be over", limit=LIMIT, poll=0.5)
        status = self.ended(self.team_b, project)
        assert reason(status) == "SetupSucceeded", status


@pytest.fixture(scope="module")
def scene(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("forged")
    settings = {"concurrency": "1", "job_start_limit": f"{START_LIMIT}s"}
    with node_sandbox(node_cluster, folder / "sandbox", **settings) as sandbox:
        team_a, team_b = sandbox.api.namespace, f"{sandbox.api.namespace}-b"
        kubectl = Kubectl(node_cluster.kubeconfig)
        kubectl.make_namespace(team_b)
        kubeconfig = operator_kubeconfig(node_cluster.kubeconfig, [team_a, team_b], folder)
        sandbox.operator.configure({"KUBECONFIG": str(kubeconfig)}, namespaces=f"{team_a},{team_b}")
        sandbox.operator.start()
        near, far = (Tenant(node_cluster.kubeconfig, namespace) for namespace in (team_a, team_b))
        yield Scene(sandbox, ApiServer(node_cluster.kubeconfig, team_b), near, far)
        kubectl("delete", "namespace", team_b, "--wait=false")


def labels(project: str, job: str = "none") -> dict[str, str]:
    """Those of a pod of the project's attempt."""
    return {**OURS, PROJECT: project, JOB_NAME: job}


def succeeded(commit: str = FORGED) -> Body:
    """The status of a pod that reports every step of `together`, and a commit."""
    message = f"step=third\nexit=0\nCODE_COMMIT={commit}\n"
    end = {"exitCode": 0, "reason": "Completed", "message": message}
    image = {"image": "x", "imageID": "", "ready": False, "restartCount": 0}
    return {
        "status": {
            "phase": "Succeeded",
            "containerStatuses": [{"name": "first", "state": {"terminated": end}, **image}],
        }
    }


@pytest.mark.parametrize("where", ["near", "far"])
def test_a_forged_pod_status_makes_no_project_ready(scene: Scene, where: str) -> None:
    project = scene.set_up(scene.sandbox.api, first="sleep 8; exit 3")
    job = scene.job_of(project)["metadata"]["name"]
    attacker: Tenant = getattr(scene, where)
    attacker.make_pod(f"forged-{project}", labels=labels(project, job))
    attacker.patch("pod", f"forged-{project}", succeeded(), status=True)
    status = scene.ended(scene.sandbox.api, project)
    assert (reason(status), status["failure"]["exitCode"], status.get("commits")) == ("StepFailed", 3, None), status
    assert scene.sandbox.record(project)["status"] == "failed"


@pytest.mark.parametrize("where", ["near", "far"])
def test_pods_and_jobs_that_only_have_the_labels_of_a_project_do_not_affect_it(scene: Scene, where: str) -> None:
    project = scene.sandbox.project()
    attacker: Tenant = getattr(scene, where)
    attacker.make_pod(f"forged-{project}", labels=labels(project))
    uid = attacker.make_job(f"forged-{project}", labels={**OURS, PROJECT: project})
    spec = {"recipe": "together", "parameters": {"first": ":"}}
    scene.sandbox.api.create(project, spec=spec, annotations={f"{PREFIX}max-attempts": "1"})
    status = scene.ended(scene.sandbox.api, project)
    assert reason(status) == "SetupSucceeded", status
    found = attacker.get("job", f"forged-{project}")["metadata"]
    assert (found["uid"], "deletionTimestamp" in found) == (uid, False)


def test_a_pod_that_claims_an_earlier_job_holds_the_slot_no_longer_than_the_start_limit(
    scene: Scene,
) -> None:
    project = scene.sandbox.project()
    scene.seems_to_run(f"forged-{project}", project, f"setup-{project}-1-0", "5f0c7a52-0000-4000-8000-000000000000")
    spec = {"recipe": "together", "parameters": {"first": ":"}}
    scene.sandbox.api.create(project, spec=spec, annotations={f"{PREFIX}max-attempts": "1"})
    scene.others_proceed()
    status = scene.ended(scene.sandbox.api, project)
    assert status["failure"]["reason"] == "EngineError", status
    assert "earlier attempts did not end within 10s" in status["failure"]["message"], status


def test_a_pod_that_claims_the_job_and_never_ends_soon_holds_no_slot(scene: Scene) -> None:
    project = scene.set_up(scene.sandbox.api, first="sleep 600")
    job = scene.job_of(project)["metadata"]
    scene.seems_to_run(f"forged-{project}", project, job["name"], job["uid"])
    scene.sandbox.annotate(project, "cancel-requested-at", "now")
    scene.others_proceed(meanwhile=lambda: scene.says_that_it_runs(f"forged-{project}"))
    assert f"still waiting for forged-{project}" in message(scene.status(scene.sandbox.api, project))
    scene.near.patch("pod", f"forged-{project}", {"metadata": {"finalizers": []}})
    assert reason(scene.ended(scene.sandbox.api, project)) == "Cancelled"


def test_a_foreign_finalizer_on_a_job_does_not_hold_its_slot(scene: Scene) -> None:
    project = scene.set_up(scene.sandbox.api, first="sleep 600")
    job = scene.job_of(project)["metadata"]["name"]
    scene.near.patch("job", job, {"metadata": {"finalizers": [KEPT]}})
    scene.sandbox.annotate(project, "cancel-requested-at", "now")
    status = scene.ended(scene.sandbox.api, project)
    assert reason(status) == "Cancelled", status
    assert scene.near.get("job", job)["metadata"]["deletionTimestamp"]
    scene.others_proceed()
    scene.near.patch("job", job, {"metadata": {"finalizers": []}})


def test_a_suspended_job_ends_at_its_deadline(scene: Scene) -> None:
    project = scene.set_up(scene.sandbox.api, first="sleep 600", timeout="20s")
    job = scene.job_of(project)["metadata"]["name"]
    scene.near.patch("job", job, {"spec": {"suspend": True, "activeDeadlineSeconds": 10**6}})
    scene.others_proceed()
    assert reason(scene.ended(scene.sandbox.api, project)) == "AttemptsExhausted"


def test_a_job_under_a_guessed_name_is_not_taken_for_the_attempts_job(scene: Scene) -> None:
    project = scene.sandbox.project()
    squatted = [f"setup-{project}-{number}-{fence}" for number, fence in ((1, 1), (1, 2), (1, 3), (2, 3), (2, 4))]
    uids = {name: scene.near.make_job(name, labels={**OURS, PROJECT: project}) for name in squatted}
    for name, uid in uids.items():
        scene.near.make_pod(name, labels={**labels(project, name), OF_JOB: uid})
        scene.near.patch("pod", name, succeeded(), status=True)
    spec = {"recipe": "together", "parameters": {"first": "exit 3"}}
    scene.sandbox.api.create(project, spec=spec, annotations={f"{PREFIX}backoff": "1ms", f"{PREFIX}max-attempts": "9"})
    status = scene.ended(scene.sandbox.api, project)
    assert (reason(status), status["attempt"], status.get("commits")) == ("StepFailed", 1, None), status
    assert {name: scene.near.get("job", name)["metadata"]["uid"] for name in squatted} == uids
    assert not any("deletionTimestamp" in scene.near.get("job", name)["metadata"] for name in squatted)


def test_a_plan_that_he_changes_while_the_operator_is_down_is_not_trusted(scene: Scene) -> None:
    project = scene.set_up(scene.sandbox.api, first=f"sleep 15; echo {'a' * 60}!; exit 3")
    job = scene.job_of(project)["metadata"]
    scene.sandbox.operator.kill()
    plan = json.loads(job["annotations"][PLAN])
    plan["stages"][0]["steps"][0]["retry"] = {"output": ["(a+)+$"]}
    scene.near.patch("job", job["name"], {"metadata": {"annotations": {PLAN: json.dumps(plan)}}})
    scene.sandbox.operator.start()
    scene.others_proceed()
    status = scene.ended(scene.sandbox.api, project)
    assert "was changed, so its steps are unknown" in status["failure"]["message"], status
    assert status["failure"]["retryable"] is True
