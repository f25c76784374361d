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
from tests.support.operator_sandbox import ENDED, NO_BACKOFF, Sandbox, message, reason
from tests.support.setup_handle import Setup

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

    def set_up(
        self, api: ApiServer | None = None, *, project: str | None = None, first: str = ":", timeout: str = "5m"
    ) -> Setup:
        """A setup of team A, or in the namespace of `api`, whose first step does this."""
        return Setup.make(
            self.sandbox,
            "together",
            project=project,
            api=api,
            annotations={**NO_BACKOFF, "max_attempts": "1"},
            spec={"timeout": timeout},
            first=first,
        )

    def job_of(self, setup: Setup) -> Body:
        """The Job of a setup of team A, once it exists."""
        jobs: list[str] = []

        def exists(status: Body) -> bool:
            jobs[:] = self.near.kubectl("get", "jobs", "--output=name").split()
            return "runRef" in status and f"job.batch/{status['runRef']['name']}" in jobs

        status = setup.wait_for("running as a Job", exists, limit=LIMIT)
        return self.near.get("job", status["runRef"]["name"])

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

        def has_ended(status: Body) -> bool:
            meanwhile()
            return status.get("phase") in ENDED

        status = self.set_up(self.team_b).wait_for("ended", has_ended, limit=LIMIT)
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
    setup = scene.set_up(first="sleep 8; exit 3")
    job = scene.job_of(setup)["metadata"]["name"]
    attacker: Tenant = getattr(scene, where)
    attacker.make_pod(f"forged-{setup.name}", labels=labels(setup.name, job))
    attacker.patch("pod", f"forged-{setup.name}", succeeded(), status=True)
    why, status = setup.ended(limit=LIMIT)
    assert (why, status["failure"]["exitCode"], status.get("commits")) == ("StepFailed", 3, None), status
    assert setup.record["status"] == "failed"


@pytest.mark.parametrize("where", ["near", "far"])
def test_pods_and_jobs_that_only_have_the_labels_of_a_project_do_not_affect_it(scene: Scene, where: str) -> None:
    project = scene.sandbox.project()
    attacker: Tenant = getattr(scene, where)
    attacker.make_pod(f"forged-{project}", labels=labels(project))
    uid = attacker.make_job(f"forged-{project}", labels={**OURS, PROJECT: project})
    why, status = scene.set_up(project=project).ended(limit=LIMIT)
    assert why == "SetupSucceeded", status
    found = attacker.get("job", f"forged-{project}")["metadata"]
    assert (found["uid"], "deletionTimestamp" in found) == (uid, False)


def test_a_pod_that_claims_an_earlier_job_holds_the_slot_no_longer_than_the_start_limit(scene: Scene) -> None:
    project = scene.sandbox.project()
    scene.seems_to_run(f"forged-{project}", project, f"setup-{project}-1-0", "5f0c7a52-0000-4000-8000-000000000000")
    setup = scene.set_up(project=project)
    scene.others_proceed()
    _, status = setup.ended(limit=LIMIT)
    assert status["failure"]["reason"] == "EngineError", status
    assert "earlier attempts did not end within 10s" in status["failure"]["message"], status


def test_a_pod_that_claims_the_job_and_never_ends_soon_holds_no_slot(scene: Scene) -> None:
    setup = scene.set_up(first="sleep 600")
    job, pod = scene.job_of(setup)["metadata"], f"forged-{setup.name}"
    scene.seems_to_run(pod, setup.name, job["name"], job["uid"])
    setup.annotate(cancel_requested_at="now")
    scene.others_proceed(meanwhile=lambda: scene.says_that_it_runs(pod))
    assert f"still waiting for {pod}" in message(setup.status)
    scene.near.patch("pod", pod, {"metadata": {"finalizers": []}})
    assert setup.ended(limit=LIMIT)[0] == "Cancelled"


def test_a_foreign_finalizer_on_a_job_does_not_hold_its_slot(scene: Scene) -> None:
    setup = scene.set_up(first="sleep 600")
    job = scene.job_of(setup)["metadata"]["name"]
    scene.near.patch("job", job, {"metadata": {"finalizers": [KEPT]}})
    setup.annotate(cancel_requested_at="now")
    why, status = setup.ended(limit=LIMIT)
    assert why == "Cancelled", status
    assert scene.near.get("job", job)["metadata"]["deletionTimestamp"]
    scene.others_proceed()
    scene.near.patch("job", job, {"metadata": {"finalizers": []}})


def test_a_suspended_job_ends_at_its_deadline(scene: Scene) -> None:
    setup = scene.set_up(first="sleep 600", timeout="20s")
    job = scene.job_of(setup)["metadata"]["name"]
    scene.near.patch("job", job, {"spec": {"suspend": True, "activeDeadlineSeconds": 10**6}})
    scene.others_proceed()
    assert setup.ended(limit=LIMIT)[0] == "AttemptsExhausted"


def test_a_job_under_a_guessed_name_is_not_taken_for_the_attempts_job(scene: Scene) -> None:
    project = scene.sandbox.project()
    squatted = [f"setup-{project}-{number}-{fence}" for number, fence in ((1, 1), (1, 2), (1, 3), (2, 3), (2, 4))]
    uids = {name: scene.near.make_job(name, labels={**OURS, PROJECT: project}) for name in squatted}
    for name, uid in uids.items():
        scene.near.make_pod(name, labels={**labels(project, name), OF_JOB: uid})
        scene.near.patch("pod", name, succeeded(), status=True)
    why, status = scene.set_up(project=project, first="exit 3").ended(limit=LIMIT)
    assert (why, status.get("commits")) == ("StepFailed", None), status
    jobs = {name: scene.near.get("job", name)["metadata"] for name in squatted}
    assert {name: job["uid"] for name, job in jobs.items()} == uids
    assert not any("deletionTimestamp" in job for job in jobs.values())


def test_a_plan_that_he_changes_while_the_operator_is_down_is_not_trusted(scene: Scene) -> None:
    setup = scene.set_up(first=f"sleep 15; echo {'a' * 60}!; exit 3")
    job = scene.job_of(setup)["metadata"]
    scene.sandbox.operator.kill()
    plan = json.loads(job["annotations"][PLAN])
    plan["stages"][0]["steps"][0]["retry"] = {"output": ["(a+)+$"]}
    scene.near.patch("job", job["name"], {"metadata": {"annotations": {PLAN: json.dumps(plan)}}})
    scene.sandbox.operator.start()
    scene.others_proceed()
    _, status = setup.ended(limit=LIMIT)
    assert "was changed, so its steps are unknown" in status["failure"]["message"], status
    assert status["failure"]["retryable"] is True
