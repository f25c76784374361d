"""The attacker has stolen the token of the operator's service account, which may create Jobs in every namespace.

With it he may ask the API server for anything that RBAC lets the operator do, and wants a Job that does more than one
of the operator's: in a namespace of the cluster, with privileges on a node, with a token or with other Secrets.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from projectsetup.engines.kubernetes_job.manifest import job_manifest, tombstone
from projectsetup.engines.kubernetes_job.pod import PodSettings
from tests.support.job_attempts import PROJECT_ID, make_adoption, make_attempt, make_recipe
from tests.support.manifests import ACCOUNT, SYSTEM, Body, Kubectl, Refused, token_kubeconfig
from tests.support.operator_process import wait_for

TEAM: Final = "team-stolen"
NAME: Final = f"setup-{PROJECT_ID}-2-7-{'x' * 7}"
RECIPE: Final = make_recipe({"name": "build"}, {"name": "push", "credentials": True})
SETTINGS: Final = PodSettings(
    priority_class=None,
    node_selector={"pool": "setups"},
    tolerations=({"key": "setups", "operator": "Exists"},),
    queue="team",
    image_pull_secrets=("registry",),
    environment={"HTTPS_PROXY": "http://proxy:3128"},
)
HOST_PATH: Final = {"name": "host", "hostPath": {"path": "/"}}
TOKEN: Final = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
ANOTHER_SECRET: Final = {"name": "another", "secret": {"secretName": "database"}}
METADATA_SERVICE: Final = {"host": "169.254.169.254", "port": 80}
FROM_A_SECRET: Final = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}}


def job(**attempt: Any) -> Body:
    """A Job as the operator creates it, with credentials."""
    order = make_attempt(RECIPE, namespace=TEAM, run_name=NAME, credentials_secret="git", **attempt)
    return job_manifest(order, SETTINGS)


POD: Final = ("spec", "template", "spec")
FIRST, LAST = (*POD, "initContainers", 0), (*POD, "containers", 0)
LABELS: Final = ("spec", "template", "metadata", "labels")
OWNER: Final = ("metadata", "ownerReferences", 0)

Attack = Callable[[Body], None]


def change(*path: str | int, **fields: object) -> Attack:
    """Set fields of what is at this path."""
    return lambda body: at(body, *path).update(fields)


def remove(*path: str | int) -> Attack:
    """Remove what is at this path."""
    return lambda body: at(body, *path[:-1]).pop(path[-1])


def add_volume(volume: Body) -> Attack:
    return lambda body: at(body, *POD, "volumes").append(volume)


def at(body: Any, *path: str | int) -> Any:
    for key in path:
        body = body[key]
    return body


def rename(name: str) -> Attack:
    return change("metadata", name=name)


def take_over(body: Body) -> None:
    labels = body["spec"]["template"]["metadata"]["labels"]
    labels["app"] = "database"
    body["spec"] |= {"manualSelector": True, "selector": {"matchLabels": {"app": "database"}}}


ATTACKS: Final[dict[str, Attack]] = {
    "in kube-system": change("metadata", namespace="kube-system"),
    "beside the operator": change("metadata", namespace=SYSTEM),
    "of any name": rename("innocent"),
    "of another project's name": rename(f"setup-{'1' * 8}-1111-4111-8111-{'1' * 12}-1-1-abcdefg"),
    "of nobody": change("metadata", ownerReferences=[]),
    "of another kind": change(*OWNER, kind="ConfigMap", apiVersion="v1"),
    "that nobody controls": change(*OWNER, controller=False),
    "with a token": change(*POD, automountServiceAccountToken=True),
    "with a token by default": remove(*POD, "automountServiceAccountToken"),
    "of another service account": change(*POD, serviceAccountName="cluster-admin"),
    "of another service account, as it was once called": change(*POD, serviceAccount="cluster-admin"),
    "with a token in a volume": add_volume(TOKEN),
    "in the node's network": change(*POD, hostNetwork=True),
    "among the node's processes": change(*POD, hostPID=True),
    "in the node's IPC": change(*POD, hostIPC=True),
    "on a node of his choice": change(*POD, nodeName="control-plane"),
    "that the kubelet asks for from its node": change(*LAST, livenessProbe={"httpGet": METADATA_SERVICE}),
    "that the kubelet asks for at its start": change(*LAST, lifecycle={"postStart": {"httpGet": METADATA_SERVICE}}),
    "that the kubelet connects to": change(
        *FIRST, restartPolicy="Always", startupProbe={"tcpSocket": METADATA_SERVICE}
    ),
    "in another runtime": change(*POD, runtimeClassName="without-sandbox"),
    "with a device": change(*POD, resourceClaims=[{"name": "device", "resourceClaimName": "device"}]),
    "before all pods of the cluster": change(*POD, priorityClassName="system-node-critical"),
    "without AppArmor": change(
        *LABELS[:-1], annotations={"container.apparmor.security.beta.kubernetes.io/build": "unconfined"}
    ),
    "of the group of root": change(*POD, "securityContext", runAsGroup=0),
    "of no group in particular": remove(*POD, "securityContext", "runAsGroup"),
    "of the group of root besides": change(*POD, "securityContext", supplementalGroups=[0]),
    "of the group of root in one container": change(*LAST, "securityContext", runAsGroup=0),
    "that no network policy for attempts selects": remove(*LABELS, "app.kubernetes.io/component"),
    "that another network policy selects": change(*LABELS, **{"app.kubernetes.io/managed-by": "helm"}),
    "with files of the group of root": change(*POD, "securityContext", fsGroup=0),
    "of a thousand pods": change("spec", parallelism=1000, completions=1000),
    "that takes over the pods of others": take_over,
    "with the node's files": add_volume(HOST_PATH),
    "with another Secret": add_volume(ANOTHER_SECRET),
    "with a Secret in its environment": change(*FIRST, env=[FROM_A_SECRET]),
    "with a whole Secret in its environment": change(*FIRST, envFrom=[{"secretRef": {"name": "database"}}]),
    "with a port of the node": change(*FIRST, ports=[{"containerPort": 80, "hostPort": 80}]),
    "privileged": change(*LAST, "securityContext", privileged=True, allowPrivilegeEscalation=True),
    "with more privileges than it began with": change(*LAST, "securityContext", allowPrivilegeEscalation=True),
    "with a capability": change(*LAST, "securityContext", capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    "with all capabilities": change(*LAST, "securityContext", capabilities={}),
    "as root": change(*LAST, "securityContext", runAsUser=0, runAsNonRoot=False),
    "as root altogether": change(*POD, "securityContext", runAsUser=0),
    "as root, perhaps": change(*POD, "securityContext", runAsNonRoot=False),
    "without seccomp": change(*POD, "securityContext", seccompProfile={"type": "Unconfined"}),
    "without seccomp in one container": change(*LAST, "securityContext", seccompProfile={"type": "Unconfined"}),
    "without any restriction": change(*POD, securityContext={}),
    "with a container that has no restriction": change(*FIRST, securityContext={}),
}


@pytest.fixture(scope="module")
def thief(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl with the stolen token, on a cluster with manifests/base."""
    kubectl = Kubectl(kubeconfig)
    kubectl.install()
    for name in (TEAM, "kube-system"):
        kubectl.make_namespace(name)
    token = kubectl("create", "token", ACCOUNT, f"--namespace={SYSTEM}", "--duration=1h").strip()
    stolen = Kubectl(token_kubeconfig(kubeconfig, token, tmp_path_factory.mktemp("stolen") / "kubeconfig"))
    wait_for(lambda: _refused(stolen, {**job(), "spec": job()["spec"] | {"suspend": True}}, rename("x")), "the policy")
    return stolen


def make(kubectl: Kubectl, body: Body) -> str:
    """The API server's answer to a dry run of the creation."""
    return kubectl("create", "--dry-run=server", "--filename=-", given=body)


def _refused(kubectl: Kubectl, body: Body, attack: Attack) -> bool:
    attack(body)
    try:
        make(kubectl, body)
    except Refused as refused:
        return "ValidatingAdmissionPolicy 'projectsetup-jobs'" in str(refused)
    return False


@pytest.mark.parametrize("how", ATTACKS)
def test_no_such_job_can_be_created(thief: Kubectl, how: str) -> None:
    body = copy.deepcopy(job())
    ATTACKS[how](body)
    with pytest.raises(Refused, match="ValidatingAdmissionPolicy 'projectsetup-jobs'"):
        make(thief, body)


@pytest.mark.parametrize(
    "body",
    [
        job(),
        job_manifest(make_attempt(make_recipe({"name": "one"}), namespace=TEAM, run_name=NAME), PodSettings()),
        tombstone(make_adoption(namespace=TEAM, run_name=NAME)),
    ],
    ids=["with credentials", "without", "a tombstone"],
)
def test_the_operators_own_jobs_are_admitted(thief: Kubectl, body: Body) -> None:
    assert make(thief, body) == f"job.batch/{NAME} created (server dry run)\n"


def test_other_users_are_not_affected(kubeconfig: Path, thief: Kubectl) -> None:
    body = job()
    rename("a-job-of-somebody-else")(body)
    assert make(Kubectl(kubeconfig), body) == "job.batch/a-job-of-somebody-else created (server dry run)\n"
    with pytest.raises(Refused):
        make(thief, body)
