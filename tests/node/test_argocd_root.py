"""From an empty cluster to projects that are set up, by one `kubectl apply` of the root application of Argo CD."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import yaml

from devcluster import Cluster
from images import OPERATOR, TOOLCHAIN_OFFLINE, build, images_obstacle
from projectsetup.git_hosts import GIT_HOSTS
from tests.support.argocd_server import NAMESPACE, ArgoCD, argocd, require_argocd
from tests.support.config_repository import ConfigHost, ConfigRepository, config_host
from tests.support.git_host import GitHost, git_host
from tests.support.manifests import ACCOUNT, BASE, ROOT, SYSTEM, operator_container, read
from tests.support.manifests import build as kustomize
from tests.support.node.image_archive import derive
from tests.support.node.installed import RECIPES, Installed
from tests.support.node.installed_recipes import TOOLCHAIN, UNVERIFIED
from tests.support.operator_process import wait_for

TEAM: Final = "team-a"
USERNAME, PASSWORD = "somebody", "a-password-that-nobody-guesses"
LIMIT: Final = 240.0
PUSH: Final = """\
git init -q -b main .
git -c user.name=Setup -c user.email=setup@example.com commit -q --allow-empty -m "Set up $PROJECT_NAME"
git push -q "$CODE_REPO" main
"""
STEP: Final = {"name": "push", "status": "committing", "run": PUSH, "credentials": True, "env": UNVERIFIED}
RECIPE: Final = {"name": "pushing", "description": "Pushes one commit", "image": TOOLCHAIN, "steps": [STEP]}
APPLICATIONS: Final = ("projectsetup", "projectsetup-operator", "team-a-projects")

Body = dict[str, Any]


@pytest.fixture(scope="module")
def host(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    """The host of the projects' repositories."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and a git host needs a certificate")
    folder = tmp_path_factory.mktemp("host")
    with git_host(folder, username=USERNAME, password=PASSWORD, host=node_cluster.gateway) as host:
        yield host


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConfigHost]:
    """The host of the repositories that Argo CD reads."""
    with config_host(tmp_path_factory.mktemp("configuration")) as host:
        yield host


@pytest.fixture(scope="module")
def server(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCD]:
    """Argo CD on a node with the images of the manifests."""
    require_argocd()
    if obstacle := images_obstacle((OPERATOR, TOOLCHAIN_OFFLINE)):
        pytest.skip(obstacle)
    archives = build((OPERATOR, TOOLCHAIN_OFFLINE))
    archive = tmp_path_factory.mktemp("images") / "image.tar"
    for image, name in ((OPERATOR, operator_container(kustomize(BASE))["image"]), (TOOLCHAIN_OFFLINE, TOOLCHAIN)):
        derive(archives[image], archive, name)
        node_cluster.load_image(archive)
    archive.unlink()
    with argocd(tmp_path_factory.mktemp("argocd"), node_cluster.kubeconfig) as server:
        yield server


@pytest.fixture(scope="module")
def installed(server: ArgoCD, node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Nothing yet but a database; everything is removed afterwards."""
    installed = Installed(node_cluster, tmp_path_factory.mktemp("installed"), {})
    try:
        yield installed
    finally:
        server.kubectl("delete", "applications", "--all", f"--namespace={NAMESPACE}")
        server.kubectl("delete", "namespace", TEAM, NAMESPACE, "--ignore-not-found", "--wait=false")
        installed.remove()


def platform(repository: ConfigRepository, teams: ConfigRepository, gateway: str) -> Path:
    """Commit manifests/ and crds/ with URLs, a recipe and the git host filled in; the file of the root application."""
    for folder in ("manifests", "crds"):
        shutil.copytree(ROOT / folder, repository.folder / folder)
    applications = repository.folder / "manifests" / "argocd"
    for file in applications.glob("*-application.yaml"):
        (application,) = read(file)
        source = application["spec"]["source"]
        source["repoURL"] = (teams if source["path"] == "setups" else repository).url
        file.write_text(yaml.safe_dump(application))
    base = repository.folder / "manifests" / "base" / "kustomization.yaml"
    (kustomization,) = read(base)
    container = {"name": "operator", "env": [{"name": GIT_HOSTS, "value": gateway}]}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": ACCOUNT, "namespace": SYSTEM}}
    patch = {**deployment, "spec": {"template": {"spec": {"containers": [container]}}}}
    recipes = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": RECIPES, "namespace": SYSTEM}}
    data = {"data": {"pushing.yaml": yaml.safe_dump(RECIPE)}}
    base.with_name("recipes.yaml").write_text(yaml.safe_dump({**recipes, **data}))
    kustomization["resources"].append("recipes.yaml")
    kustomization["patches"] = [{"patch": yaml.safe_dump(patch)}]
    base.write_text(yaml.safe_dump(kustomization))
    repository.commit_all()
    repository.git("tag", "v0.1.0")
    return applications / "root-application.yaml"


def setup(host: GitHost, number: int) -> tuple[str, str]:
    """A project's id and its file."""
    name, project = f"service-{number}", str(uuid.uuid4())
    spec = {
        "project": {"name": name, "codeRepo": host.repository(f"{name}.git")},
        "recipe": RECIPE["name"],
        "credentialsSecretRef": {"name": "git-credentials"},
    }
    body = {"apiVersion": "codemyspec.com/v1alpha1", "kind": "ProjectSetup", "metadata": {"name": project}}
    return project, yaml.safe_dump({**body, "spec": spec})


def attempts(installed: Installed) -> int:
    with psycopg.connect(installed.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM setup_attempts").fetchone()
    assert row is not None
    return int(row[0])


def test_one_apply_brings_operator_recipes_and_projects_and_restores_them(
    server: ArgoCD,
    installed: Installed,
    host: GitHost,
    configuration: ConfigHost,
    node_cluster: Cluster,
) -> None:
    teams = configuration.repository("projects")
    files = dict(setup(host, number) for number in range(10))
    teams.commit({f"setups/{project}.yaml": text for project, text in files.items()})
    kubectl = server.kubectl
    root = platform(configuration.repository("platform"), teams, node_cluster.gateway)
    kubectl("apply", f"--filename={root}")
    is_there(server, SYSTEM)
    installed.supply_database()
    is_there(server, TEAM)
    secret = ("create", "secret", "generic", "git-credentials", f"--namespace={TEAM}")
    kubectl(*secret, f"--from-literal=username={USERNAME}", f"--from-literal=password={PASSWORD}")
    are_healthy(server, installed)
    before = {item["metadata"]["uid"] for item in setups(server)}
    commits = [host.commit_of(f"service-{number}.git") for number in range(10)]
    kubectl("delete", "projectsetups", "--all", f"--namespace={TEAM}")

    def restored() -> bool:
        found = {item["metadata"]["uid"]: item for item in setups(server)}
        phases = {item.get("status", {}).get("phase") for item in found.values()}
        return len(found) == len(files) and not found.keys() & before and phases == {"Succeeded"}

    wait_for(restored, "Argo CD to restore the ProjectSetups", limit=LIMIT)
    are_healthy(server, installed)
    assert attempts(installed) == len(files)
    assert [host.commit_of(f"service-{number}.git") for number in range(10)] == commits


def is_there(server: ArgoCD, namespace: str) -> None:
    def found() -> bool:
        return bool(server.kubectl("get", "namespace", namespace, "--ignore-not-found", "--output=name"))

    wait_for(found, f"Argo CD to create the namespace {namespace}", limit=LIMIT)


def are_healthy(server: ArgoCD, installed: Installed) -> None:
    def state() -> dict[str, tuple[str, str]]:
        listed = server.kubectl.get("applications", f"--namespace={NAMESPACE}")["items"]
        statuses = {item["metadata"]["name"]: item.get("status", {}) for item in listed}
        return {
            name: (status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", ""))
            for name, status in statuses.items()
        }

    expected = dict.fromkeys(APPLICATIONS, ("Synced", "Healthy"))
    try:
        wait_for(lambda: state() == expected, "the applications to be Synced and Healthy", limit=LIMIT)
    except AssertionError as error:
        raise AssertionError(f"{error}; they are {state()}\n{installed.logs()[-2000:]}") from None


def setups(server: ArgoCD) -> list[Body]:
    found: list[Body] = server.kubectl.get("projectsetups", f"--namespace={TEAM}")["items"]
    return found
