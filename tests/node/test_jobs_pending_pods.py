"""Pods that cannot start yet, and pods to which a mesh adds a container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from devcluster import Cluster
from devcluster.images import BUSYBOX
from tests.support.api_server import Body
from tests.support.manifests import Kubectl
from tests.support.node.sandboxes import node_sandbox, operator_kubeconfig
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import Sandbox, message
from tests.support.setup_handle import Setup

LIMIT: Final = 120.0
COMMIT: Final = "c0de" * 10
ONCE: Final = {"max_attempts": "1"}
MISSING_IMAGE: Final = "registry.invalid/team/toolchain:7"
RECIPES: Final = (
    f"""\
name: missing-image
description: Names an image that does not exist
image: {MISSING_IMAGE}
steps:
- {{name: one, status: compiling, run: ":"}}
""",
    f"""\
name: trusted
description: Requires a Secret
image: {BUSYBOX}
steps:
- {{name: one, status: compiling, run: ":", credentials: true}}
""",
)
MESH: Final = "mesh"
SIDECAR: Final = f"""\
object.metadata.?labels[?'mesh.example/inject'].orValue('true') == 'false' ? [] : [JSONPatch{{
  op: "add", path: "/spec/containers/-", value: Object.spec.containers{{
    name: "{MESH}", image: "{BUSYBOX}", command: ["sleep", "100000"],
    securityContext: Object.spec.containers.securityContext{{
      allowPrivilegeEscalation: false,
      capabilities: Object.spec.containers.securityContext.capabilities{{drop: ["ALL"]}}
    }}
  }}
}}]"""


@pytest.fixture(scope="module")
def kubectl(node_cluster: Cluster) -> Kubectl:
    return Kubectl(node_cluster.kubeconfig)


@pytest.fixture(scope="module")
def sandbox(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with one slot, so that a waiting setup that held it would block all others."""
    folder = tmp_path_factory.mktemp("waiting")
    settings = {"concurrency": "1", "job_labels": "team=a", "job_annotations": "mesh.example/note=hello"}
    with node_sandbox(node_cluster, folder / "sandbox", *RECIPES, **settings) as sandbox:
        kubeconfig = operator_kubeconfig(node_cluster.kubeconfig, [sandbox.api.namespace], folder)
        sandbox.operator.configure({"KUBECONFIG": str(kubeconfig)})
        sandbox.operator.start()
        yield sandbox


@pytest.fixture
def mesh(sandbox: Sandbox, kubectl: Kubectl) -> Iterator[None]:
    """Every new pod of the namespace gets a container that never ends."""
    admission = "admissionregistration.k8s.io/v1"
    policy: Body = {
        "apiVersion": admission,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": MESH},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": sandbox.api.namespace}},
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                ],
            },
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": SIDECAR}}],
        },
    }
    binding: Body = {
        "apiVersion": admission,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": MESH},
        "spec": {"policyName": MESH},
    }
    for body in (policy, binding):
        kubectl("apply", "--filename=-", given=body)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}}
    pod["spec"] = {"containers": [{"name": "one", "image": BUSYBOX}]}

    def added() -> bool:
        where = (f"--namespace={sandbox.api.namespace}", "--dry-run=server", "--filename=-", "--output=name")
        return MESH in kubectl("create", *where[:3], "--output=jsonpath={.spec.containers[*].name}", given=pod)

    wait_for(added, "the mesh to add its container", limit=LIMIT)
    yield
    for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
        kubectl("delete", kind, MESH)
    wait_for(lambda: not added(), "the mesh to stop adding its container", limit=LIMIT)


def says(setup: Setup, text: str, phase: str) -> Body:
    """Return the status once it has this phase and its message contains this text."""
    return setup.wait_for(
        f"{phase} and say {text!r}", lambda status: status.get("phase") == phase and text in message(status)
    )


@pytest.mark.parametrize(
    ("resource", "text"), [("pods", "cannot create a pod"), ("count/jobs.batch", "cannot create Job")]
)
def test_an_exceeded_quota_consumes_no_attempt_and_holds_no_slot(
    sandbox: Sandbox, kubectl: Kubectl, resource: str, text: str
) -> None:
    here = f"--namespace={sandbox.api.namespace}"
    spec = {"hard": {resource: "0"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec}
    kubectl("apply", here, "--filename=-", given=quota)
    kubectl("wait", here, "--for=jsonpath={.status.hard}", "resourcequota/few", "--timeout=20s")
    setups = [Setup.make(sandbox, "together", annotations=ONCE) for _ in range(2)]
    for setup in setups:
        status = says(setup, text, "Queued")
        assert "exceeded quota: few" in message(status)
        assert (status["attempt"], status.get("attempts", []), "runRef" in status) == (0, [], False), status
    kubectl("delete", here, "resourcequota/few")
    for setup in setups:
        why, status = setup.ended(limit=LIMIT)
        assert (why, status["attempt"]) == ("SetupSucceeded", 1), status


def test_the_message_says_why_a_pod_cannot_start(sandbox: Sandbox) -> None:
    for recipe, spec, text in (
        ("missing-image", {}, MISSING_IMAGE),
        ("trusted", {"credentialsSecretRef": {"name": "no-such"}}, 'secret "no-such" not found'),
    ):
        setup = Setup.make(sandbox, recipe, spec=spec)
        status = says(setup, text, "Running")
        assert message(status).startswith("attempt 1 of 3: step one (1 of 1): ")
        setup.delete()


@pytest.mark.usefixtures("mesh")
def test_a_container_of_a_mesh_does_not_keep_an_attempt_from_ending(sandbox: Sandbox, kubectl: Kubectl) -> None:
    setups = {
        ends: Setup.make(sandbox, "together", annotations=ONCE, spec={"timeout": "3m"}, third=last)
        for last, ends in ((":", "SetupSucceeded"), ("exit 3", "StepFailed"), ("exit 75", "AttemptsExhausted"))
    }
    for ends, setup in setups.items():
        why, status = setup.ended()
        assert why == ends, status
        selector = f"--selector=setup.codemyspec.com/project={setup.name}"
        assert kubectl.get("pods", f"--namespace={sandbox.api.namespace}", selector)["items"] == []


def test_a_job_runs_on_while_the_api_server_is_down(node_cluster: Cluster, sandbox: Sandbox) -> None:
    script = f'echo "CODE_COMMIT={COMMIT}" >>"$STEP_OUTPUTS"'
    setup = Setup.make(sandbox, "together", annotations=ONCE, first="sleep 5", second=script)
    setup.wait_for("at its first step", lambda status: status.get("step") == "first")
    node_cluster.stop("apiserver")
    node_cluster.start("apiserver")
    why, status = setup.ended(limit=LIMIT)
    assert (why, status["attempt"], status.get("commits")) == ("SetupSucceeded", 1, {"codeRepo": COMMIT}), status


def test_pods_have_the_labels_and_annotations_of_the_settings(sandbox: Sandbox, kubectl: Kubectl) -> None:
    setup = Setup.make(sandbox, "together")
    assert setup.ended()[0] == "SetupSucceeded"
    selector = f"--selector=team=a,setup.codemyspec.com/project={setup.name}"
    (pod,) = kubectl.get("pods", f"--namespace={sandbox.api.namespace}", selector)["items"]
    assert pod["metadata"]["annotations"]["mesh.example/note"] == "hello"
