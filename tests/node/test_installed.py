"""The operator installed as docs/deployment.md says, on a node: its pods set projects up, and survive each other."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest

from devcluster import Cluster
from images import OPERATOR, TOOLCHAIN_OFFLINE, build, images_obstacle
from tests.support.git_host import GitHost, git_host
from tests.support.installation import CREDENTIALS, JOBS
from tests.support.manifests import ACCOUNT, BASE, MANIFESTS, SYSTEM, Body, Refused, operator_container
from tests.support.manifests import build as kustomize
from tests.support.node.image_archive import derive
from tests.support.node.installed import LIMIT, Installed
from tests.support.node.installed_recipes import GATE, RECIPES, TOOLCHAIN
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import reason
from tests.support.processes import living

TEAM: Final = "team-installed"
USERNAME, PASSWORD = "somebody", "a-password-that-nobody-guesses"
CERTIFICATE: Final = "/etc/ssl/git-host.pem"
LOCAL_ENGINE: Final = MANIFESTS / "overlays" / "local-engine"
SECRET: Final = {"credentialsSecretRef": {"name": "git"}}
TROUBLE: Final = re.compile(r'\b40[13]\b|forbidden|unauthorized|"level": "(error|critical)"|Traceback', re.IGNORECASE)
NEW_CRD: Final = re.compile("will retry: GET .*/projectsetups.* status=429")
"""The API server answers so while it installs a new kind."""
IN_ORDER: Final = (
    *("initializing", "deps_installing", "setting_up_auth", "compiling", "testing", "committing", "ready"),
)
SECRET_MOUNT: Final = "/var/run/secrets/setup.codemyspec.com/git"


@pytest.fixture(scope="module")
def host(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    """A git host that pods reach, with a certificate that no image knows by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and a git host needs a certificate")
    folder = tmp_path_factory.mktemp("host")
    with git_host(folder, username=USERNAME, password=PASSWORD, host=node_cluster.gateway) as host:
        yield host


@pytest.fixture(scope="module")
def supplied(node_cluster: Cluster, host: GitHost, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """With the images under the names of the manifests, of which one was given the git host's certificate."""
    if obstacle := images_obstacle((OPERATOR, TOOLCHAIN_OFFLINE)):
        pytest.skip(obstacle)
    archives = build((OPERATOR, TOOLCHAIN_OFFLINE))
    archive = tmp_path_factory.mktemp("images") / "image.tar"
    derive(archives[OPERATOR], archive, operator_container(kustomize(BASE))["image"])
    node_cluster.load_image(archive)
    files, environment = {CERTIFICATE: host.certificate.read_bytes()}, {"GIT_SSL_CAINFO": CERTIFICATE}
    derive(archives[TOOLCHAIN_OFFLINE], archive, TOOLCHAIN, files=files, environment=environment)
    node_cluster.load_image(archive)
    archive.unlink()
    return node_cluster


@pytest.fixture(scope="module")
def installation(supplied: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """All that is there before an engine is chosen, and a team with a Secret in a namespace for restricted pods."""
    installed = Installed(supplied, tmp_path_factory.mktemp("installed"), RECIPES)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    team = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM, "labels": labels}}
    try:
        installed.prepare()
        installed.kubectl("create", "--filename=-", given=team)
        literals = (f"--from-literal=username={USERNAME}", f"--from-literal=password={PASSWORD}")
        installed.kubectl("create", "secret", "generic", "git", f"--namespace={TEAM}", *literals)
        yield installed
    finally:
        installed.kubectl("delete", "namespace", TEAM, "--ignore-not-found", "--wait=false")
        installed.remove()


@pytest.fixture
def installed(installation: Installed) -> Installed:
    """manifests/base as it is."""
    installation.use(BASE)
    return installation


@pytest.fixture
def installed_local(installation: Installed) -> Installed:
    """The overlay with the local engine, without the rights that base had given."""
    installation.use(LOCAL_ENGINE)
    roles = (f"clusterrolebinding/{JOBS}", f"clusterrole/{JOBS}")
    installation.kubectl("delete", "--ignore-not-found", *roles)
    return installation


def test_two_pods_are_ready_and_one_leads(installed: Installed) -> None:
    operators = installed.operators()
    assert len(operators) == 2
    assert installed.leader() in operators
    for name, pod in operators.items():
        assert pod["spec"]["serviceAccountName"] == ACCOUNT
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        leading = 'import urllib.request as r; print(r.urlopen("http://127.0.0.1:8080/metrics").read().decode())'
        leads = "projectsetup_leading 1.0" in installed.run("python3", "-c", leading, pod=name)
        assert leads is (name == installed.leader())


def test_the_init_container_brought_the_tables_up_to_date(installed: Installed) -> None:
    for pod in installed.operators().values():
        (migration,) = pod["status"]["initContainerStatuses"]
        assert (migration["name"], migration["state"]["terminated"]["exitCode"]) == ("migrate", 0)
    with psycopg.connect(installed.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM projects").fetchone() == (0,)


def test_pods_have_no_rights_on_their_node(installed: Installed) -> None:
    for name in installed.operators():
        assert installed.run("id", "-u", pod=name) == "65532\n"
        rights = dict(line.split(":\t") for line in installed.run("cat", "/proc/self/status", pod=name).splitlines())
        assert (int(rights["CapEff"], 16), rights["NoNewPrivs"], rights["Seccomp"]) == (0, "1", "2")
        written = (
            "for place in / /opt/projectsetup /etc /home/projectsetup /tmp; do touch $place/x && echo $place; done"
        )
        assert installed.run("sh", "-c", f"({written}) 2>/dev/null || true", pod=name) == "/tmp\n"


def test_the_disruption_budget_and_the_network_policy_select_the_pods(installed: Installed) -> None:
    def budget() -> tuple[int, int, int]:
        status = installed.kubectl.get("poddisruptionbudget", ACCOUNT, f"--namespace={SYSTEM}")["status"]
        return status["expectedPods"], status["currentHealthy"], status["disruptionsAllowed"]

    wait_for(lambda: budget() == (2, 2, 1), "the disruption budget to know both pods")
    policy = installed.kubectl.get("networkpolicy", ACCOUNT, f"--namespace={SYSTEM}")["spec"]
    labels = ",".join(f"{key}={value}" for key, value in policy["podSelector"]["matchLabels"].items())
    chosen = installed.kubectl.get("pods", f"--namespace={SYSTEM}", f"--selector={labels}")["items"]
    assert {pod["metadata"]["name"] for pod in chosen} == installed.operators().keys()
    assert (policy["policyTypes"], policy.get("ingress", [])) == (["Ingress", "Egress"], [])


def test_a_bad_annotation_is_refused_at_admission(installed: Installed) -> None:
    annotations = {"setup.codemyspec.com/priority": "99"}
    metadata = {"name": "6b0f3c52-9f6e-4a57-8a3e-0d5c2b7e41aa", "annotations": annotations}
    body = {"apiVersion": "codemyspec.com/v1alpha1", "kind": "ProjectSetup", "metadata": metadata}
    with pytest.raises(Refused, match="must be 0 to 9"):
        installed.kubectl("create", f"--namespace={TEAM}", "--filename=-", given=body)


def python_service(installed: Installed, host: GitHost, name: str) -> tuple[str, Body]:
    """The project and the final status of a python-service that was pushed in its first attempt."""
    repositories = [f"{name.lower()}.git", f"{name.lower()}-docs.git"]
    project = installed.project(TEAM, name, *map(host.repository, repositories))
    installed.set_up(TEAM, project, recipe="python-service", **SECRET)
    status = installed.ended(TEAM, project)
    assert (reason(status), status["attempt"]) == ("SetupSucceeded", 1), status
    assert list(status["commits"].values()) == list(map(host.commit_of, repositories))
    return project, status


def test_a_python_service_from_its_project_to_the_pushed_commits(
    installed: Installed, host: GitHost, tmp_path: Path
) -> None:
    with installed.watching(TEAM, tmp_path / "watch"):
        project, _ = python_service(installed, host, "Orders")
        wait_for(lambda: "Succeeded" in (tmp_path / "watch").read_text(), "the watch to show the end")
    (job,) = installed.made_for("jobs", TEAM, project)
    (pod,) = installed.made_for("pods", TEAM, project)
    assert pod["metadata"]["ownerReferences"][0]["uid"] == uid(job)
    row = json.loads(installed.run("projectsetup", "projects", "get", project, "--output=json"))
    assert (row["status"], row["setup_error"]) == ("ready", None)
    watched = [line.split() for line in (tmp_path / "watch").read_text().splitlines() if line.startswith(project)]
    for seen in (["initializing", "generate", "0/7"], ["compiling", "compile", "3/7"]):
        assert ["Running", *seen] in [line[2:6] for line in watched]
    assert watched[-1][1:6] == ["Orders", "Succeeded", "ready", "7/7", "1"]
    places = [IN_ORDER.index(line[3]) for line in watched if line[2:3] in (["Running"], ["Succeeded"])]
    assert places == sorted(places)


def test_attempts_see_nothing_of_the_operator_and_only_their_last_step_sees_the_secret(
    installed: Installed, host: GitHost
) -> None:
    project = installed.project(TEAM, "Looking", host.repository("looking.git"))
    installed.set_up(TEAM, project, recipe="looking", parameters={"namespace": TEAM}, **SECRET)
    status = installed.ended(TEAM, project)
    assert reason(status) == "SetupSucceeded", status
    (pod,) = installed.made_for("pods", TEAM, project)
    spec = pod["spec"]
    containers = {container["name"]: container for container in (*spec["initContainers"], *spec["containers"])}
    assert list(containers) == ["first", "second"]
    assert spec["automountServiceAccountToken"] is False
    assert [volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume] == ["git"]
    assert not any("projected" in volume or "hostPath" in volume for volume in spec["volumes"])
    mounts = {
        name: {mount["mountPath"] for mount in container["volumeMounts"]} for name, container in containers.items()
    }
    assert SECRET_MOUNT in mounts["second"]
    assert not any(path.startswith("/var/run/secrets") for path in mounts["first"])
    for secret in (PASSWORD, psycopg.conninfo.conninfo_to_dict(installed.database_url)["password"]):
        assert str(secret) not in json.dumps(pod)
    for name, files in (("first", []), ("second", ["password", "username"])):
        log = installed.kubectl("logs", f"--namespace={TEAM}", f"--container={name}", pod["metadata"]["name"])
        seen = json.loads(next(line for line in log.splitlines() if line.startswith("seen ")).removeprefix("seen "))
        assert (seen["database"], seen["account"]) == (False, False)
        assert (seen["secret"], seen["login"]) == (files, bool(files))
        assert (seen["user"], seen["capabilities"], seen["seccomp"], seen["no new privileges"]) == (65532, 0, 2, 1)
        assert seen["answer"] in (401, 403)
        assert re.search("system:anonymous|Unauthorized", seen["body"])


def test_the_namespace_of_the_attempts_admits_only_restricted_pods(installed: Installed) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged"},
        "spec": {"containers": [{"name": "main", "image": TOOLCHAIN, "securityContext": {"privileged": True}}]},
    }
    with pytest.raises(Refused, match="violates PodSecurity"):
        installed.kubectl("create", f"--namespace={TEAM}", "--dry-run=server", "--filename=-", given=pod)


def waits_at_the_gate(installed: Installed, host: GitHost, name: str) -> str:
    """A project whose running setup continues once the gate opens."""
    project = installed.project(TEAM, name, host.repository(f"{name}.git"))
    installed.set_up(TEAM, project, recipe="gated")
    wait_for(lambda: _gate_runs(installed, project), "the step behind the gate to run", limit=LIMIT)
    (job,) = installed.made_for("jobs", TEAM, project)
    run = installed.status(TEAM, project)["runRef"]
    assert (run["engine"], run["name"]) == ("job", job["metadata"]["name"])
    return project


def _gate_runs(installed: Installed, project: str) -> bool:
    pods = installed.made_for("pods", TEAM, project)
    command = ("--container=gate", "--", "test", "-d", GATE.rpartition("/")[0])
    try:
        for pod in pods:
            installed.kubectl("exec", f"--namespace={TEAM}", pod["metadata"]["name"], *command)
    except Refused:
        return False
    return bool(pods)


def continues_after(installed: Installed, project: str, change: Callable[[], None]) -> None:
    """Open the gate after the change; what ran before has to succeed then, in its first attempt."""
    before = [uid(body) for kind in ("jobs", "pods") for body in installed.made_for(kind, TEAM, project)]
    change()
    (pod,) = installed.made_for("pods", TEAM, project)
    installed.kubectl("exec", f"--namespace={TEAM}", pod["metadata"]["name"], "--container=gate", "--", "touch", GATE)
    status = installed.ended(TEAM, project)
    assert (reason(status), status["attempt"]) == ("SetupSucceeded", 1), status
    assert [attempt["number"] for attempt in status["attempts"]] == [1]
    assert [uid(body) for kind in ("jobs", "pods") for body in installed.made_for(kind, TEAM, project)] == before
    installed.settle()


def test_the_other_pod_adopts_the_job_when_the_leader_is_deleted(installed: Installed, host: GitHost) -> None:
    leader = installed.leader()

    def delete_the_leader() -> None:
        installed.kubectl("delete", "pod", leader, f"--namespace={SYSTEM}", "--wait=false")
        wait_for(lambda: installed.leader() not in ("", leader), "the other pod to lead", limit=LIMIT)

    continues_after(installed, waits_at_the_gate(installed, host, "deleted"), delete_the_leader)
    assert leader not in installed.operators()


def test_a_killed_leader_continues_in_its_next_container(installed: Installed, host: GitHost) -> None:
    leader = installed.leader()

    def kill_the_leader() -> None:
        (process,) = living(f"HOSTNAME={leader}\0")
        os.kill(process, signal.SIGKILL)
        wait_for(lambda: restarts(installed, leader) == 1, "its container to run again", limit=LIMIT)

    continues_after(installed, waits_at_the_gate(installed, host, "killed"), kill_the_leader)
    assert installed.leader() in installed.operators()
    assert len(installed.operators()) == 2


def restarts(installed: Installed, name: str) -> int:
    status = installed.operators()[name]["status"]["containerStatuses"][0]
    return int(status["restartCount"]) if "running" in status["state"] else -1


def uid(body: Body) -> str:
    found: str = body["metadata"]["uid"]
    return found


def test_with_the_local_engine_the_steps_run_in_the_leading_pod(installed_local: Installed, host: GitHost) -> None:
    installed = installed_local
    account = f"--serviceaccount={SYSTEM}:{ACCOUNT}"
    installed.kubectl(
        "create", "rolebinding", CREDENTIALS, f"--clusterrole={CREDENTIALS}", account, f"--namespace={TEAM}"
    )
    project, _ = python_service(installed, host, "Local")
    steps = installed.kubectl("logs", f"--namespace={SYSTEM}", installed.leader(), "--container=operator")
    assert "step started" in "".join(line for line in steps.splitlines() if project in line)
    assert not installed.made_for("jobs", TEAM, project)
    left = ("find", "/work", "-maxdepth", "2", "-name", f"{project[:8]}-*")
    assert installed.run(*left, pod=installed.leader()) == ""


def test_no_operator_logged_a_refusal_or_an_error(installation: Installed) -> None:
    lines = installation.logs().splitlines()
    assert any("acquired the leader lease" in line for line in lines)
    assert [line for line in lines if TROUBLE.search(line) and not NEW_CRD.search(line)] == []
