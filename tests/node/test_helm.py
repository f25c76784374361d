"""The Helm chart on a node: upgrades lose no running setup, and uninstalling keeps what users have created."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import psycopg
import pytest

from devcluster import Cluster
from images import OPERATOR, build, images_obstacle
from tests.support.helm import CHART, helm, require_helm
from tests.support.manifests import ACCOUNT, BASE, SYSTEM, Body, Refused, operator_container
from tests.support.manifests import build as kustomize
from tests.support.node.image_archive import derive
from tests.support.node.installed import LIMIT, Installed
from tests.support.node.installed_recipes import GATE, GATED
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import reason

TEAM: Final = "team-helm"
IMAGE: Final = operator_container(kustomize(BASE))["image"]
LOCAL: Final = (
    "--set=engine=local",
    f"--set=image.repository={IMAGE.partition(':')[0]}",
    "--set=settings.PROJECTSETUP_SHUTDOWN_GRACE=1s",
)
"""The gated recipe needs no tools, so the small image serves both engines."""
OLD_PODS: Final = 2
"""An upgrade ends the old leader and the old standby one after the other; the standby may lead in between."""


@pytest.fixture(scope="module")
def installed(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The chart as its README installs it, for one namespace with restricted pods."""
    require_helm()
    if obstacle := images_obstacle((OPERATOR,)):
        pytest.skip(obstacle)
    archive = tmp_path_factory.mktemp("images") / "image.tar"
    derive(build((OPERATOR,))[OPERATOR], archive, IMAGE)
    node_cluster.load_image(archive)
    archive.unlink()
    installed = Installed(node_cluster, tmp_path_factory.mktemp("installed"), {"gated.yaml": GATED})
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    team = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM, "labels": labels}}
    try:
        installed.prepare()
        installed.kubectl("create", "--filename=-", given=team)
        run(node_cluster, installed, "install", f"--set=namespaces={{{TEAM}}}")
        yield installed
    finally:
        installed.kubectl("delete", "namespace", TEAM, "--ignore-not-found", "--wait=false")
        installed.remove()


def run(cluster: Cluster, installed: Installed, command: str, *arguments: str) -> None:
    """Install or upgrade, and wait until the new pods have replaced the old ones."""
    helm(command, "projectsetup", str(CHART), *arguments, kubeconfig=cluster.kubeconfig)
    installed.settle()


def upgrade(cluster: Cluster, installed: Installed, revision: str, *arguments: str) -> None:
    """An upgrade that replaces every pod."""
    run(
        cluster,
        installed,
        "upgrade",
        "--reset-then-reuse-values",
        f"--set-string=podAnnotations.revision={revision}",
        *arguments,
    )


def running(installed: Installed, name: str) -> str:
    """A project whose first step runs until its gate opens."""
    project = installed.project(TEAM, name, f"https://git.example.com/{name}.git")
    installed.set_up(TEAM, project, recipe="gated")
    wait_for(lambda: bool(gate(installed, project)), f"the gate of {name} to be there", limit=LIMIT)
    return project


def gate(installed: Installed, project: str) -> tuple[str, ...]:
    """The command in a pod that opens the gate, while the step before it runs."""
    try:
        if status_engine(installed, project) == "job":
            (pod,) = installed.made_for("pods", TEAM, project)
            target = (f"--namespace={TEAM}", pod["metadata"]["name"], "--container=gate", "--", "touch", GATE)
            installed.kubectl("exec", *target[:-2], "test", "-d", GATE.rpartition("/")[0])
            return target
        leader = installed.leader()
        (folder,) = installed.run("find", "/work", "-path", f"*/{project[:8]}-*/workspace", pod=leader).split()
    except (Refused, ValueError):
        return ()
    return (f"--namespace={SYSTEM}", leader, "--container=operator", "--", "touch", f"{folder}/open")


def status_engine(installed: Installed, project: str) -> str:
    run_reference = installed.status(TEAM, project).get("runRef") or {}
    return str(run_reference.get("engine", ""))


def succeeds(installed: Installed, project: str) -> None:
    """Open the gate; the setup has to succeed in its first attempt."""
    opening = wait_for(lambda: gate(installed, project), f"an attempt of {project} to run", limit=LIMIT)
    installed.kubectl("exec", *opening)
    status = installed.ended(TEAM, project)
    assert (reason(status), status["attempt"]) == ("SetupSucceeded", 1), status
    assert [attempt["number"] for attempt in status["attempts"]] == [1]


def outcomes(installed: Installed, project: str) -> list[str]:
    """How each attempt ended that the database knows of."""
    with psycopg.connect(installed.database_url) as connection:
        found = connection.execute("SELECT outcome FROM setup_attempts WHERE project_id = %s ORDER BY id", (project,))
        return [outcome for (outcome,) in found]


def jobs(installed: Installed, *projects: str) -> list[str]:
    """The uids of the Jobs that were made for these projects."""
    return [job["metadata"]["uid"] for project in projects for job in installed.made_for("jobs", TEAM, project)]


def statuses(installed: Installed) -> dict[str, Body]:
    """The status of each ProjectSetup of the team by its uid."""
    setups = installed.kubectl.get("projectsetups", f"--namespace={TEAM}")["items"]
    return {setup["metadata"]["uid"]: setup["status"] for setup in setups}


def test_jobs_that_run_during_an_upgrade_are_adopted(node_cluster: Cluster, installed: Installed) -> None:
    projects = [running(installed, name) for name in ("first", "second", "third")]
    before, leader = jobs(installed, *projects), installed.leader()
    assert len(before) == len(projects)
    upgrade(node_cluster, installed, "two")
    assert installed.leader() != leader
    for project in projects:
        succeeds(installed, project)
        assert outcomes(installed, project) == ["Succeeded"]
    assert jobs(installed, *projects) == before


def test_with_the_local_engine_an_upgrade_restarts_attempts_without_counting_them(
    node_cluster: Cluster, installed: Installed
) -> None:
    upgrade(node_cluster, installed, "three", *LOCAL)
    with pytest.raises(Refused, match="NotFound"):
        installed.kubectl("get", "rolebinding", "projectsetup-jobs", f"--namespace={TEAM}")
    projects = [running(installed, name) for name in ("fourth", "fifth")]
    upgrade(node_cluster, installed, "four")
    for project in projects:
        succeeds(installed, project)
        *handed_over, last = outcomes(installed, project)
        assert (set(handed_over), last) == ({"Returned"}, "Succeeded")
        assert len(handed_over) <= OLD_PODS
    assert jobs(installed, *projects) == []


def test_uninstalling_keeps_the_setups_and_a_new_installation_continues(
    node_cluster: Cluster, installed: Installed
) -> None:
    setups = f"--namespace={TEAM}"
    before = {
        item["metadata"]["uid"]: item["status"] for item in installed.kubectl.get("projectsetups", setups)["items"]
    }
    assert len(before) == 5
    helm("uninstall", "projectsetup", kubeconfig=node_cluster.kubeconfig)
    wait_for(lambda: not installed.operators(), "the operator's pods to be gone", limit=LIMIT)
    with pytest.raises(Refused, match="NotFound"):
        installed.kubectl("get", "deployment", ACCOUNT, f"--namespace={SYSTEM}")
    run(node_cluster, installed, "install", f"--set=namespaces={{{TEAM}}}")
    project = running(installed, "sixth")
    succeeds(installed, project)
    after = statuses(installed)
    assert {uid: after[uid] for uid in before} == before
