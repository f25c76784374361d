"""Jobs whose pods do not start or are killed, and what an operator with only its own rights reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import yaml

from devcluster import Cluster
from devcluster.images import BUSYBOX
from tests.support.api_server import ApiServer, Body
from tests.support.manifests import Kubectl
from tests.support.node.job_fault_run import LITTLE
from tests.support.node.sandboxes import node_sandbox, operator_kubeconfig
from tests.support.operator_sandbox import NO_BACKOFF, message, reason
from tests.support.setup_handle import Setup

START_LIMIT: Final = 30
LIMIT: Final = 150.0
NOT_STARTED: Final = f"did not start within {START_LIMIT}s"
MISSING_IMAGE: Final = "registry.invalid/team/toolchain:7"
TOKEN: Final = "glpat-only-the-pod-sees-this"
SECRET: Final = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "git"},
    "stringData": {"token": TOKEN},
}
SMALL_PODS: Final = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "small"},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "8Mi"}}]},
}


def recipe(name: str, *, image: str = BUSYBOX, credentials: bool = False, **more: Any) -> str:
    """Two stages; the first runs the script in the parameter."""
    steps = [
        {"name": "first", "status": "compiling", "run": 'eval "$PARAM_RUN"', "credentials": credentials},
        {"name": "last", "status": "committing", "run": ":", "isolate": True},
    ]
    parameters = {"run": {"default": ":"}}
    head = {"description": "Runs the script in its parameter", "image": image, "parameters": parameters, "steps": steps}
    return f"name: {name}\n{yaml.safe_dump({'resources': LITTLE, **head, **more})}"


RECIPES: Final = (
    recipe("plain"),
    recipe("missing-image", image=MISSING_IMAGE),
    recipe("huge", resources={"requests": {"cpu": "500"}}),
    recipe("trusted", credentials=True),
    recipe("narrow", resources={"requests": LITTLE["requests"], "limits": {"memory": "48Mi"}}),
    recipe("cramped", workspaceSize="4Mi"),
)
HOG: Final = "dd if=/dev/zero of=/dev/null bs=100M count=1"
FILL: Final = "dd if=/dev/zero of=much bs=1M count=32; sleep 120"


@dataclass(frozen=True, slots=True)
class Row:
    """A setup and its end: the reasons of `Succeeded` and of the failure, and parts of the message."""

    recipe: str = "plain"
    run: str = ":"
    namespace: str = "main"
    spec: dict[str, Any] = field(default_factory=dict)
    attempts: int = 1
    reason: str = "AttemptsExhausted"
    failure: str | None = "EngineError"
    messages: tuple[str, ...] = ()
    step: str | None = None


TABLE: Final = {
    "a restricted namespace": Row(reason="SetupSucceeded", failure=None),
    "a Secret that only the pod sees": Row(
        "trusted",
        'test "${#PROJECT_GIT_PASSWORD}" = ' + f'{len(TOKEN)}; echo "the token is $PROJECT_GIT_PASSWORD"; exit 3',
        spec={"credentialsSecretRef": {"name": "git"}},
        reason="StepFailed",
        failure="StepFailed",
        messages=("the token is ***",),
        step="first",
    ),
    "a missing Secret": Row(
        "trusted",
        spec={"credentialsSecretRef": {"name": "no-such"}},
        messages=(NOT_STARTED, '"no-such"'),
    ),
    "a missing image": Row("missing-image", messages=(NOT_STARTED, MISSING_IMAGE)),
    "a pod that fits on no node": Row("huge", messages=(NOT_STARTED, "Insufficient cpu")),
    "a limit of the namespace": Row(
        namespace="small", messages=(NOT_STARTED, "maximum memory usage per Container is 8Mi")
    ),
    "out of memory": Row("narrow", HOG, failure="StepKilled", messages=("step first ran out of memory",), step="first"),
    "out of memory in the first attempt": Row(
        "narrow", f'test "$ATTEMPT" -gt 1 || {HOG}', attempts=2, reason="SetupSucceeded", failure=None
    ),
    "a full workspace": Row("cramped", FILL, failure="StepKilled", messages=("work", "exceeds the limit", "4Mi")),
}


@pytest.fixture(scope="module")
def small(node_cluster: Cluster) -> Iterator[ApiServer]:
    """A namespace whose containers may use little memory."""
    api = ApiServer.prepared(node_cluster.kubeconfig, "small")
    Kubectl(node_cluster.kubeconfig)("apply", f"--namespace={api.namespace}", "--filename=-", given=SMALL_PODS)
    yield api
    api.kubectl("delete", "namespace", api.namespace, "--wait=false")


@pytest.fixture(scope="module")
def ends(
    node_cluster: Cluster, small: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Body]]:
    """The final status of the setup of each row."""
    folder = tmp_path_factory.mktemp("failing-pods")
    settings = {"concurrency": "20", "job_start_limit": f"{START_LIMIT}s"}
    with node_sandbox(node_cluster, folder / "sandbox", *RECIPES, **settings) as sandbox:
        main = sandbox.api.namespace
        sandbox.api.kubectl("label", "namespace", main, "pod-security.kubernetes.io/enforce=restricted")
        Kubectl(node_cluster.kubeconfig)("apply", f"--namespace={main}", "--filename=-", given=SECRET)
        namespaces = [main, small.namespace]
        kubeconfig = operator_kubeconfig(node_cluster.kubeconfig, namespaces, folder)
        sandbox.operator.configure({"KUBECONFIG": str(kubeconfig)}, namespaces=",".join(namespaces))
        sandbox.operator.start()
        setups = {
            title: Setup.make(
                sandbox,
                row.recipe,
                api=small if row.namespace == "small" else None,
                annotations={**NO_BACKOFF, "max_attempts": str(row.attempts)},
                spec=row.spec,
                run=row.run,
            )
            for title, row in TABLE.items()
        }
        yield {title: setup.ended(limit=LIMIT)[1] for title, setup in setups.items()}
        assert TOKEN not in "".join(sandbox.published_texts().values())


@pytest.mark.parametrize("title", TABLE)
def test_the_end_names_the_cause(ends: dict[str, Body], title: str) -> None:
    row, status = TABLE[title], ends[title]
    assert (reason(status), status["attempt"]) == (row.reason, row.attempts), status
    failure = status.get("failure", {})
    assert failure.get("reason") == row.failure, status
    for text in row.messages:
        assert text in failure["message"], failure
        assert text in message(status), status
    if row.step is not None:
        assert failure["step"] == row.step


def test_a_pod_that_ran_out_of_memory_is_retried(ends: dict[str, Body]) -> None:
    attempts = ends["out of memory in the first attempt"]["attempts"]
    assert [one["reason"] for one in attempts] == ["StepKilled", "SetupSucceeded"]
    assert "ran out of memory" in attempts[0]["message"]
