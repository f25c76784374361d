"""The Helm chart in real Helm: it renders what kustomize renders, and refuses what it does not know."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.helm import CHART, HelmError, helm, render, require_helm
from tests.support.manifests import (
    ACCOUNT,
    BASE,
    MANIFESTS,
    SYSTEM,
    Body,
    Kubectl,
    Refused,
    build,
    operator_container,
    pick,
)

pytestmark = pytest.mark.usefixtures("_helm")

OF_HELM: Final = ("app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart")
PART_OF: Final = "app.kubernetes.io/part-of"
"""Overlays do not label what they add."""
STRINGS: Final = {"name", "namespace", "image", "priorityClassName", "kubernetes.io/metadata.name", "value"}
NAMED: Final = ("env", "volumes", "volumeMounts", "ports")
COMPONENT: Final = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [manifests/base]
components: [manifests/components/{name}]
"""


@pytest.fixture(scope="module")
def _helm() -> None:
    require_helm()


def normalized(objects: Iterable[Body]) -> dict[str, Body]:
    """The objects by kind, namespace and name, without what only Helm or only kustomize adds."""
    found = {}
    for body in copy.deepcopy(list(objects)):
        metadata = body["metadata"]
        for label in (*OF_HELM, PART_OF):
            metadata.get("labels", {}).pop(label, None)
        for key in ("labels", "annotations"):
            if not metadata.get(key, True):
                del metadata[key]
        if body["kind"] == "Secret":
            body["data"] = {key: "".join(text.split()) for key, text in body["data"].items()}
        _sort_lists(body)
        found["/".join((body["kind"], metadata.get("namespace", ""), metadata["name"]))] = body
    return found


def _sort_lists(value: Any) -> None:
    """Sort the lists whose order means nothing."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in NAMED and isinstance(item, list):
                item.sort(key=lambda entry: str(entry.get("mountPath", entry.get("name"))))
            _sort_lists(item)
    elif isinstance(value, list):
        for item in value:
            _sort_lists(item)


def without_namespace(objects: dict[str, Body]) -> dict[str, Body]:
    """Helm's users create the namespace, because it has to exist before the Secret with DATABASE_URL."""
    return {name: body for name, body in objects.items() if body["kind"] != "Namespace"}


def with_component(name: str, folder: Path) -> list[Body]:
    (folder / "manifests").symlink_to(MANIFESTS)
    (folder / "kustomization.yaml").write_text(COMPONENT.format(name=name))
    return build(folder)


def assert_equal(chart: list[Body], kustomization: list[Body]) -> None:
    rendered, built = normalized(chart), without_namespace(normalized(kustomization))
    assert rendered.keys() == built.keys()
    for name, body in built.items():
        assert rendered[name] == body, name


@pytest.mark.parametrize(
    ("folder", "arguments"),
    [
        (BASE, ()),
        (MANIFESTS / "overlays" / "namespaced", ("--set=namespaces={team-a,team-b}",)),
        (MANIFESTS / "overlays" / "local-engine", ("--set=engine=local",)),
        (MANIFESTS / "overlays" / "development", (f"--values={CHART / 'values-development.yaml'}",)),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_renders_what_kustomize_builds(folder: Path, arguments: tuple[str, ...]) -> None:
    assert_equal(render(*arguments), build(folder))


@pytest.mark.parametrize(
    ("name", "argument"),
    [("intake", "--set=intake.namespace=team-a"), ("credentials-everywhere", "--set=credentials.everywhere=true")],
)
def test_renders_what_a_component_adds(name: str, argument: str, tmp_path: Path) -> None:
    assert_equal(render(argument), with_component(name, tmp_path))


def test_renders_the_monitoring() -> None:
    rendered = render("--set=monitoring.enabled=true")
    assert_equal(rendered, [*build(BASE), *build(MANIFESTS / "monitoring")])
    dashboard = pick(rendered, "ConfigMap", "projectsetup-dashboard")["data"]["projectsetup.json"]
    assert json.loads(dashboard)["title"] == "ProjectSetup"


def test_values_of_the_monitoring() -> None:
    docs = "https://git.example.com/platform/projectsetup/blob/main/docs"
    options = ("--set=monitoring.enabled=true,monitoring.namespace=watch,monitoring.labels.release=prometheus",)
    objects = render(*options, f"--set=monitoring.docs={docs}")
    for kind in ("PodMonitor", "PrometheusRule"):
        assert pick(objects, kind, ACCOUNT)["metadata"]["labels"]["release"] == "prometheus"
    (source,) = pick(objects, "NetworkPolicy", "projectsetup-metrics")["spec"]["ingress"][0]["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "watch"}
    (group,) = pick(objects, "PrometheusRule", ACCOUNT)["spec"]["groups"]
    for rule in group["rules"]:
        assert rule["annotations"]["runbook_url"] == f"{docs}/runbooks/{rule['alert']}.md"


def test_the_namespace_of_the_release_is_that_of_every_object_and_names_may_be_numbers() -> None:
    values = {
        "namespaces": ["12"],
        "intake": {"namespace": "12"},
        "database": {"secret": "34", "migrateSecret": "56", "caConfigMap": "78"},
        "recipesConfigMap": "90",
        "priorityClassName": "7",
        "monitoring": {"enabled": True, "namespace": "0x1"},
        "commonLabels": {"cost-center": "4711"},
        "developmentDatabase": True,
        "networkPolicy": {"egress": [{}], "attemptsEgress": [{}]},
    }
    text = helm("template", "other", str(CHART), "--namespace=123", f"--set-json={json.dumps(values)}")
    assert SYSTEM not in text
    assert "system:serviceaccount:123:projectsetup-operator" in text
    objects = [body for body in yaml.safe_load_all(text) if body]
    assert {body["metadata"].get("namespace") for body in objects} == {None, "123", "12"}
    assert {body["metadata"]["labels"]["cost-center"] for body in objects} == {"4711"}
    assert [entry for body in objects for entry in _not_strings(body)] == []


def _not_strings(value: Any) -> list[object]:
    """The names, namespaces and the like below `value` that are not strings."""
    if isinstance(value, list):
        return [entry for item in value for entry in _not_strings(item)]
    if not isinstance(value, dict):
        return []
    found = [value[key] for key in STRINGS & value.keys() if not isinstance(value[key], str | dict)]
    return found + [entry for item in value.values() for entry in _not_strings(item)]


def test_network_policies() -> None:
    rule = {"ports": [{"port": 6432}]}
    more = (f"--set-json=networkPolicy.egress={json.dumps([rule])}", "--set=namespaces={team-a,team-b}")
    host = {"to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}]}
    objects = render(*more, f"--set-json=networkPolicy.attemptsEgress={json.dumps([host])}")
    selected = pick(objects, "NetworkPolicy", "projectsetup-operator")["spec"]["podSelector"]
    added = pick(objects, "NetworkPolicy", "projectsetup-egress")["spec"]
    assert added == {"podSelector": selected, "policyTypes": ["Egress"], "egress": [rule]}
    policies = [body for body in objects if body["kind"] == "NetworkPolicy"]
    for team in ("team-a", "team-b"):
        attempts = [body for body in policies if body["metadata"]["namespace"] == team]
        basic, extra = (
            pick(attempts, "NetworkPolicy", f"projectsetup-attempts{end}")["spec"] for end in ("", "-egress")
        )
        assert extra == {"podSelector": basic["podSelector"], "policyTypes": ["Egress"], "egress": [host]}
    without = render(*more, "--set=networkPolicy.enabled=false,monitoring.enabled=true,networkPolicy.attempts=false")
    assert not [body for body in without if body["kind"] == "NetworkPolicy"]


def test_values_reach_the_pod() -> None:
    digest = f"sha256:{'0a' * 32}"
    values = {
        "image": {
            "repository": "registry.example/projectsetup",
            "digest": digest,
            "pullSecrets": [{"name": "registry"}],
        },
        "database": {"migrateSecret": "owner"},
        "settings": {"PROJECTSETUP_JOB_INDEX_SECRET": "package-index"},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "podAnnotations": {"sidecar.istio.io/inject": "false"},
        "tolerations": [{"key": "setups", "operator": "Exists"}],
        "volumes": [{"name": "more", "emptyDir": {}}],
        "volumeMounts": [{"name": "more", "mountPath": "/more"}],
        "priorityClassName": "high",
        "terminationGracePeriodSeconds": 340,
        "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
        "deploymentAnnotations": {"reloader.stakater.com/auto": "true"},
    }
    objects = render(f"--set-json={json.dumps(values)}")
    deployment = pick(objects, "Deployment", ACCOUNT)
    template = deployment["spec"]["template"]
    pod, container = template["spec"], operator_container(objects)
    proxy, migrate = pod["initContainers"]
    assert [proxy] == values["initContainers"]
    assert pod["terminationGracePeriodSeconds"] == 340
    assert deployment["metadata"]["annotations"] == values["deploymentAnnotations"]
    assert {container["image"], migrate["image"]} == {f"registry.example/projectsetup@{digest}"}
    assert migrate["env"][0]["valueFrom"]["secretKeyRef"]["name"] == "owner"
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environment["PROJECTSETUP_JOB_INDEX_SECRET"] == "package-index"
    assert environment["PROJECTSETUP_CONCURRENCY"] == "4"
    assert environment["HTTPS_PROXY"] == "http://proxy:3128"
    assert template["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    assert (pod["priorityClassName"], pod["tolerations"]) == ("high", values["tolerations"])
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    for one in (container, migrate):
        assert {"name": "more", "mountPath": "/more"} in one["volumeMounts"]
    variables = pick(objects, "ValidatingAdmissionPolicy", "projectsetup-jobs")["spec"]["variables"]
    assert {"name": "indexSecret", "expression": "'package-index'"} in variables


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--set=replica=3", "additional properties 'replica' not allowed"),
        ("--set=settings.PROJECTSETUP_CONCURENCY=4", "'PROJECTSETUP_CONCURENCY' not allowed"),
        ("--set=engine=pods", "value must be one of 'job', 'local'"),
        ("--set=image.digest=latest", "does not match pattern"),
        ("--set=namespaces={Team_A}", "does not match pattern"),
        ("--set=env[0].name=PROJECTSETUP_ENGINE", "env: PROJECTSETUP_ENGINE cannot be set here: use settings"),
        ("--set=env[0].name=DATABASE_URL", "env: DATABASE_URL cannot be set here: name a Secret"),
        ("--set=namespaces={kube-system}", "namespaces: kube-system cannot be served"),
        ("--set=namespaces={projectsetup-system}", "namespaces: projectsetup-system cannot be served"),
        ("--set=namespaces={team-a},intake.namespace=other", "intake.namespace: other is not one of namespaces"),
    ],
)
def test_a_value_that_cannot_work_is_refused_in_one_clear_line(argument: str, message: str) -> None:
    with pytest.raises(HelmError) as refusal:
        render(argument)
    assert message in str(refusal.value)


def test_lint_finds_nothing(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"monitoring": {"enabled": True}, "namespaces": ["team-a"]}))
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), f"--values={values}")


def test_takes_over_what_kubectl_installed_and_keeps_the_crd_when_it_goes(kubeconfig: Path) -> None:
    kubectl = Kubectl(kubeconfig)
    kubectl.install()
    kubectl.make_namespace("team-a")
    options = ("--set=namespaces={team-a}", "--take-ownership", "--force-conflicts")
    try:
        with pytest.raises(HelmError, match="invalid ownership metadata"):
            helm("install", "projectsetup", str(CHART), kubeconfig=kubeconfig)
        said = helm("install", "projectsetup", str(CHART), *options, kubeconfig=kubeconfig)
        assert f"kubectl rollout status deployment/{ACCOUNT} --namespace {SYSTEM}" in said
        assert "kubectl get projectsetups --namespace team-a --watch" in said
        change = ("upgrade", "projectsetup", str(CHART), "--reset-then-reuse-values", "--set=replicas=1")
        with pytest.raises(HelmError, match='conflict with "kubectl-client-side-apply"'):
            helm(*change, kubeconfig=kubeconfig)
        helm(*change, "--force-conflicts", kubeconfig=kubeconfig)
        assert kubectl.get("deployment", ACCOUNT, f"--namespace={SYSTEM}")["spec"]["replicas"] == 1
        assert kubectl.get("rolebinding", ACCOUNT, "--namespace=team-a")
        kept = helm("uninstall", "projectsetup", kubeconfig=kubeconfig)
        assert "[CustomResourceDefinition] projectsetups.codemyspec.com" in kept
        with pytest.raises(Refused, match="NotFound"):
            kubectl.get("deployment", ACCOUNT, f"--namespace={SYSTEM}")
    finally:
        kubectl.install()
