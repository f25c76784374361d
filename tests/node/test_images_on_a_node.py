"""The images on a node: the operator as the manifests install it, and its Jobs in the toolchain, without internet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
import yaml

from devcluster import Cluster
from images import OPERATOR, TOOLCHAIN_OFFLINE, build, images_obstacle
from tests.conftest import on_database
from tests.support.git_host import GitHost, git_host
from tests.support.manifests import ACCOUNT, BASE, MANIFESTS, SYSTEM, Kubectl
from tests.support.node.installed_recipes import offline_recipe
from tests.support.operator_process import wait_for

OBSTACLE: Final = images_obstacle((OPERATOR, TOOLCHAIN_OFFLINE))
pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=OBSTACLE or "")

CREDENTIALS: Final = "git"
USERNAME, PASSWORD = "somebody", "a-password-that-nobody-guesses"
RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
LIMIT: Final = 120.0

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Installation:
    """What the manifests install, and the image that takes the place of the one they name."""

    manifests: Path
    named: str
    image: str


ENGINES: Final = {
    "job": Installation(BASE, "codemyspec/projectsetup", OPERATOR),
    "local": Installation(
        MANIFESTS / "overlays" / "local-engine", "codemyspec/projectsetup-toolchain", TOOLCHAIN_OFFLINE
    ),
}


@dataclass(frozen=True, slots=True)
class Site:
    """A namespace that operators serve, their database, and a git host."""

    kubectl: Kubectl
    namespace: str
    database_urls: tuple[str, str]
    """As seen from here, and from pods."""
    git: GitHost

    def install(self, engine: str, folder: Path) -> None:
        """Install the operator, in place of one with another engine, and wait for all of it."""
        write_overlay(folder, ENGINES[engine], self)
        self.kubectl.install(folder)
        wait_for(self._is_installed, f"the operator with the engine {engine} to be ready", limit=LIMIT)

    def _is_installed(self) -> bool:
        deployment = self.kubectl.get("deployment", ACCOUNT, f"--namespace={SYSTEM}")
        status, wanted = deployment["status"], deployment["spec"]["replicas"]
        counts = [status.get(name) for name in ("replicas", "updatedReplicas", "readyReplicas")]
        return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [wanted] * 3

    def api_server(self) -> str:
        """The address of the API server, as pods reach it."""
        return str(self.kubectl.get("service", "kubernetes", "--namespace=default")["spec"]["clusterIP"])


@pytest.fixture(scope="module")
def cluster(node_cluster: Cluster) -> Cluster:
    """With the images on its node."""
    for archive in build((OPERATOR, TOOLCHAIN_OFFLINE)).values():
        node_cluster.load_image(archive)
    return node_cluster


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> str:
    """A new one that lets in nothing but restricted pods."""
    name = f"images-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    Kubectl(cluster.kubeconfig)("create", "--filename=-", given=body)
    return name


@pytest.fixture(scope="module")
def site(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("git")
    kubectl = Kubectl(cluster.kubeconfig)
    name = namespace.replace("-", "_")
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    urls = on_database(cluster.database_url, name), on_database(cluster.in_cluster_database_url, name)
    secret = [f"--from-literal=username={USERNAME}", f"--from-literal=password={PASSWORD}"]
    kubectl("create", "secret", "generic", CREDENTIALS, f"--namespace={namespace}", *secret)
    account = f"--serviceaccount={SYSTEM}:{ACCOUNT}"
    kubectl(
        "create", "rolebinding", "any", "--clusterrole=projectsetup-credentials", account, f"--namespace={namespace}"
    )
    try:
        with git_host(folder, username=USERNAME, password=PASSWORD, host=cluster.gateway) as git:
            yield Site(kubectl, namespace, urls, git)
    finally:
        policies = "validatingadmissionpolicies,validatingadmissionpolicybindings"
        kubectl("delete", policies, "--selector=app.kubernetes.io/part-of=projectsetup")
        kubectl("delete", "namespace", namespace, SYSTEM, "--ignore-not-found", "--wait=false")


def write_overlay(folder: Path, installation: Installation, site: Site) -> None:
    """The manifests with an image of this machine, one namespace to serve, and its database. The node has no DNS."""
    name, _, tag = installation.image.partition(":")
    serves = {"name": "PROJECTSETUP_NAMESPACES", "value": site.namespace}
    hosts = {"name": "PROJECTSETUP_GIT_HOSTS", "value": site.git.host}
    alias = {"ip": site.api_server(), "hostnames": ["kubernetes.default.svc"]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": ACCOUNT, "namespace": SYSTEM},
        "spec": {
            "template": {"spec": {"hostAliases": [alias], "containers": [{"name": "operator", "env": [serves, hosts]}]}}
        },
    }
    (folder / "python-service.yaml").write_text(offline_recipe())
    generated = {"namespace": SYSTEM, "options": {"disableNameSuffixHash": True}}
    secret = {"name": "projectsetup-database", "literals": [f"DATABASE_URL={site.database_urls[1]}"]}
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(installation.manifests, folder)],
        "images": [{"name": installation.named, "newName": name, "newTag": tag}],
        "patches": [{"patch": json.dumps(deployment)}],
        "configMapGenerator": [{"name": "projectsetup-recipes", "files": ["python-service.yaml"], **generated}],
        "secretGenerator": [{**secret, **generated}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))


def pod_end(kubectl: Kubectl, namespace: str, container: Body) -> tuple[int, str]:
    """Exit code and output of a restricted pod with this one container."""
    name = f"pod-{uuid4().hex[:8]}"
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [{"name": "main", "securityContext": RESTRICTED, **container}],
    }
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubectl("create", "--filename=-", f"--namespace={namespace}", given=body)

    def terminated() -> Body:
        statuses = kubectl.get("pod", name, f"--namespace={namespace}")["status"].get("containerStatuses", [{}])
        found: Body = statuses[0].get("state", {}).get("terminated", {})
        return found

    wait_for(lambda: bool(terminated()), f"pod {name} to end", limit=LIMIT)
    return terminated()["exitCode"], kubectl("logs", name, f"--namespace={namespace}")


@pytest.mark.parametrize("image", [OPERATOR, TOOLCHAIN_OFFLINE])
def test_answers_in_a_restricted_pod(cluster: Cluster, namespace: str, image: str) -> None:
    exit_code, output = pod_end(Kubectl(cluster.kubeconfig), namespace, {"image": image, "args": ["--help"]})
    assert (exit_code, output.count("Usage: projectsetup")) == (0, 1)


@pytest.mark.parametrize("image", [OPERATOR, TOOLCHAIN_OFFLINE])
def test_a_setting_that_is_wrong_ends_the_pod_with_one_line(cluster: Cluster, namespace: str, image: str) -> None:
    container = {"image": image, "env": [{"name": "DATABASE_URL", "value": "nonsense"}]}
    exit_code, output = pod_end(Kubectl(cluster.kubeconfig), namespace, container)
    assert (exit_code, output.count("\n")) == (2, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_python_service_from_the_manifests_to_the_pushed_commits(site: Site, engine: str, tmp_path: Path) -> None:
    site.install(engine, tmp_path)
    project, kubectl = str(uuid4()), site.kubectl
    repositories = [site.git.repository(f"{project}-{name}.git") for name in ("code", "docs")]
    with psycopg.connect(site.database_urls[0]) as connection:
        connection.execute(
            "INSERT INTO projects (id, namespace, name, code_repo, docs_repo) VALUES (%s, %s, %s, %s, %s)",
            (project, site.namespace, f"Orders by {engine}", *repositories),
        )
    body = {
        "apiVersion": "codemyspec.com/v1alpha1",
        "kind": "ProjectSetup",
        "metadata": {"name": project},
        "spec": {"credentialsSecretRef": {"name": CREDENTIALS}},
    }
    kubectl("create", "--filename=-", f"--namespace={site.namespace}", given=body)
    status: Body = {}

    def is_over() -> bool:
        status.update(kubectl.get("projectsetup", project, f"--namespace={site.namespace}").get("status", {}))
        return status.get("phase") in ("Succeeded", "Failed")

    wait_for(is_over, f"ProjectSetup {project} to be over", limit=LIMIT)
    log = kubectl("logs", f"--namespace={SYSTEM}", "--selector=app.kubernetes.io/component=operator", "--tail=50")
    assert status["phase"] == "Succeeded", f"{status}\n{log}"
    assert (status["attempt"], status["runRef"]["engine"]) == (1, engine)
    assert status["commits"] == {
        "codeRepo": site.git.commit_of(f"{project}-code.git"),
        "docsRepo": site.git.commit_of(f"{project}-docs.git"),
    }
