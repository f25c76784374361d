"""The manifests on a real API server: they build, are accepted, and their pods meet the restricted profile."""

from __future__ import annotations

import copy
import json
import re
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest

from devcluster.build import find_programs
from projectsetup.api.durations import parse_duration
from projectsetup.controller.controller import REPORT_LIMIT
from projectsetup.engines.local.engine import GRACE
from projectsetup.settings import Settings
from release.artifacts import render_manifests
from tests.support.manifests import (
    ACCOUNT,
    BASE,
    MANIFESTS,
    ROOT,
    SYSTEM,
    Body,
    Kubectl,
    Refused,
    build,
    operator_container,
    pick,
    read,
)
from tests.support.pages import code_blocks

OVERLAYS: Final = sorted(folder for folder in (MANIFESTS / "overlays").iterdir())
VERSION: Final = metadata.version("projectsetup")
FOREIGN: Final = ("PodMonitor", "PrometheusRule", "Application")
"""Kinds of third-party CRDs, which are not part of an installation."""

DEFAULT_ACCOUNT: Final = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "default", "namespace": SYSTEM},
}
"""On a whole cluster, the controller manager makes it."""


@pytest.fixture(scope="module")
def kubectl(kubeconfig: Path) -> Kubectl:
    """kubectl of a cluster with base and the namespaces of the overlays."""
    kubectl = Kubectl(kubeconfig)
    kubectl.install()
    for name in ("team-a", "team-b"):
        kubectl.make_namespace(name)
    kubectl("apply", "--filename=-", given=DEFAULT_ACCOUNT)
    return kubectl


def pod_of(deployment: Body) -> Body:
    template = copy.deepcopy(deployment["spec"]["template"])
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "probe"}}


@pytest.mark.parametrize("folder", [BASE, *OVERLAYS], ids=lambda folder: str(folder.name))
def test_installs_and_installs_again(kubectl: Kubectl, folder: Path) -> None:
    assert not {body["kind"] for body in build(folder)} & set(FOREIGN)
    said = kubectl("apply", f"--kustomize={folder}", "--dry-run=server")
    assert f"deployment.apps/{ACCOUNT}" in said
    assert "namespace/projectsetup-system unchanged (server dry run)" in said


def test_the_server_accepts_install_yaml_of_a_release(kubectl: Kubectl, tmp_path: Path) -> None:
    render_manifests(ROOT, tmp_path, VERSION, find_programs()["kubectl"])
    install = tmp_path / "install.yaml"
    assert read(install) == build(BASE)
    for options in ((), ("--server-side", "--force-conflicts")):
        said = kubectl("apply", f"--filename={install}", "--dry-run=server", *options)
        assert len(said.splitlines()) == len(build(BASE))


@pytest.mark.parametrize("folder", [BASE, *OVERLAYS], ids=lambda folder: str(folder.name))
def test_restricted_pod_security_admits_every_pod(kubectl: Kubectl, folder: Path) -> None:
    deployments = [body for body in build(folder) if body["kind"] == "Deployment"]
    assert ACCOUNT in {body["metadata"]["name"] for body in deployments}
    for deployment in deployments:
        said = kubectl("create", "--namespace", SYSTEM, "--dry-run=server", "--filename=-", given=pod_of(deployment))
        assert said == "pod/probe created (server dry run)\n"


def test_restricted_pod_security_is_enforced(kubectl: Kubectl) -> None:
    pod = pod_of(pick(build(BASE), "Deployment", ACCOUNT))
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(Refused, match="violates PodSecurity"):
        kubectl("create", "--namespace", SYSTEM, "--dry-run=server", "--filename=-", given=pod)


def test_the_example_for_gitops_is_accepted(kubectl: Kubectl) -> None:
    example = MANIFESTS / "argocd" / "example-projectsetup.yaml"
    said = kubectl("create", "--namespace", "team-a", "--dry-run=server", f"--filename={example}")
    assert said.endswith("created (server dry run)\n")


def test_monitoring_builds_and_finds_the_operator() -> None:
    monitoring, base = build(MANIFESTS / "monitoring"), build(BASE)
    labels = pick(base, "Deployment", ACCOUNT)["spec"]["template"]["metadata"]["labels"]
    monitor = pick(monitoring, "PodMonitor", ACCOUNT)["spec"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"] for port in operator_container(base)["ports"]}
    assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports
    dashboard = pick(monitoring, "ConfigMap", "projectsetup-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["projectsetup.json"])["title"] == "ProjectSetup"


def test_an_overlay_says_where_the_runbooks_are(tmp_path: Path) -> None:
    (snippet,) = code_blocks("docs/monitoring.md", "yaml", containing="runbooks")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (tmp_path / "monitoring").symlink_to(MANIFESTS / "monitoring")
    (overlay / "kustomization.yaml").write_text(snippet)
    (rules,) = (body for body in build(overlay) if body["kind"] == "PrometheusRule")
    for rule in rules["spec"]["groups"][0]["rules"]:
        where = f"https://git.example.com/platform/projectsetup/blob/main/docs/runbooks/{rule['alert']}.md"
        assert rule["annotations"]["runbook_url"] == where


def test_an_overlay_gives_migrate_a_role_of_its_own(tmp_path: Path) -> None:
    (snippet,) = code_blocks("docs/deployment.md", "yaml", containing="name: migrate")
    (tmp_path / "manifests").symlink_to(MANIFESTS)
    (tmp_path / "overlays" / "roles").mkdir(parents=True)
    (tmp_path / "overlays" / "roles" / "kustomization.yaml").write_text(snippet)
    pod = pick(build(tmp_path / "overlays" / "roles"), "Deployment", ACCOUNT)["spec"]["template"]["spec"]
    secrets = {
        container["name"]: variable["valueFrom"]["secretKeyRef"]["name"]
        for container in (*pod["initContainers"], *pod["containers"])
        for variable in container["env"]
        if variable["name"] == "DATABASE_URL"
    }
    assert secrets == {"migrate": "projectsetup-database-owner", "operator": "projectsetup-database"}


def test_argo_cd_installs_existing_paths() -> None:
    for name in ("operator-application.yaml", "projects-application.yaml"):
        (application,) = read(MANIFESTS / "argocd" / name)
        source = application["spec"]["source"]
        if source["path"].startswith("manifests/"):
            assert (MANIFESTS.parent / source["path"] / "kustomization.yaml").exists()
            assert source["targetRevision"] == f"v{VERSION}"


@pytest.mark.parametrize("folder", [BASE, *OVERLAYS], ids=lambda folder: str(folder.name))
def test_images_are_of_this_version_or_pinned(folder: Path) -> None:
    pods = [body["spec"]["template"]["spec"] for body in build(folder) if body["kind"] == "Deployment"]
    images = {container["image"] for pod in pods for container in (*pod.get("initContainers", ()), *pod["containers"])}
    ours = {image for image in images if image.startswith("codemyspec/")}
    assert ours in ({f"codemyspec/projectsetup:{VERSION}"}, {f"codemyspec/projectsetup-toolchain:{VERSION}"})
    assert all(re.search(r":\d", image) for image in images)


@pytest.mark.parametrize("folder", [BASE, *OVERLAYS], ids=lambda folder: str(folder.name))
def test_settings_are_those_of_the_operator(folder: Path) -> None:
    container = operator_container(build(folder))
    names = {variable["name"] for variable in container["env"]}
    known = {"DATABASE_URL", "HOME", *(f"PROJECTSETUP_{name.upper()}" for name in Settings.model_fields)}
    assert names <= known
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert values["PROJECTSETUP_RECIPES_DIR"] in mounts
    if folder.name == "local-engine":
        assert values["PROJECTSETUP_ENGINE"] == "local"
        assert {values["HOME"], values["PROJECTSETUP_WORKSPACE_ROOT"]} <= mounts
        assert container["image"].startswith("codemyspec/projectsetup-toolchain:")
    else:
        assert values["PROJECTSETUP_ENGINE"] == "job"


def test_the_grace_period_covers_a_clean_shutdown() -> None:
    objects = build(BASE)
    values = {variable["name"]: variable.get("value") for variable in operator_container(objects)["env"]}
    needed = parse_duration(values["PROJECTSETUP_SHUTDOWN_GRACE"]) + timedelta(seconds=GRACE + REPORT_LIMIT)
    given = pick(objects, "Deployment", ACCOUNT)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert needed + timedelta(seconds=10) <= timedelta(seconds=given)
