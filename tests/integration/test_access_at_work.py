"""The real operator with only the rights of its service account sets a project up from end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from projectsetup.kube.lease import LEASE_NAME
from projectsetup.kube.queue_config import CONFIG_MAP
from tests.support.api_server import ApiServer
from tests.support.installation import CREDENTIALS, TEAMS, Installation
from tests.support.manifests import ACCOUNT, SYSTEM
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.setup_handle import Setup

TOKEN: Final = "a-token-of-this-test"
ASK: Final = f"printf 'url=%s\\n\\n' \"$CODE_REPO\" | git credential fill | grep -qx password={TOKEN}"
"""A step that succeeds if git was given the login."""


@pytest.fixture(scope="module")
def installed(kubeconfig: Path) -> Installation:
    return Installation(kubeconfig)


@pytest.fixture
def sandbox(installed: Installation, new_sandbox: NewSandbox, tmp_path: Path) -> Iterator[Sandbox]:
    """An operator under its service account, which is not started yet; its queue is paused at first."""
    control_queue(installed, paused=True)
    kubeconfig = installed.operator_kubeconfig(tmp_path)
    settings = {"leader_election": "true", "operator_namespace": SYSTEM, "allow_file_repos": "false"}
    with new_sandbox(environment={"KUBECONFIG": str(kubeconfig)}, **settings) as sandbox:
        yield sandbox
    installed.kubectl("delete", "configmap", CONFIG_MAP, f"--namespace={SYSTEM}")


def control_queue(installed: Installation, *, paused: bool) -> None:
    data = {"paused": json.dumps(paused)}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": data}
    installed.kubectl("apply", f"--namespace={SYSTEM}", "--filename=-", given=body)


def sets_a_project_up(installed: Installation, sandbox: Sandbox, api: ApiServer) -> None:
    """The operator, which serves the namespace of `api`, gives its step the Secret, and was refused nothing."""
    sandbox.operator.start()
    api.kubectl("create", "secret", "generic", "git", f"--from-literal=token={TOKEN}")
    project = sandbox.project(code_repo="https://git.example.com/orders.git")
    spec = {"credentialsSecretRef": {"name": "git"}}
    setup = Setup.make(sandbox, "scripts", project=project, api=api, spec=spec, second=ASK)
    setup.reached("Queued")
    control_queue(installed, paused=False)
    why, status = setup.ended()
    assert why == "SetupSucceeded", status
    setup.wait_for_events("Succeeded")
    lease = installed.kubectl.get("lease", LEASE_NAME, f"--namespace={SYSTEM}")
    assert lease["spec"]["holderIdentity"]
    assert not re.search(r"\b403\b|forbidden", sandbox.operator.log.read_text())


def test_in_all_namespaces_which_are_served_without_a_setting(installed: Installation, sandbox: Sandbox) -> None:
    namespace = sandbox.api.namespace
    installed.bind(CREDENTIALS, CREDENTIALS, f"--serviceaccount={SYSTEM}:{ACCOUNT}", namespace)
    installed.await_right("get", "secrets", "git", namespace=namespace)
    sandbox.operator.configure(namespaces="")
    sets_a_project_up(installed, sandbox, sandbox.api)


def test_in_some_namespaces(installed: Installation, sandbox: Sandbox, kubeconfig: Path) -> None:
    with installed.restricted_to_some_namespaces():
        sandbox.operator.configure(namespaces=",".join(TEAMS))
        sets_a_project_up(installed, sandbox, ApiServer(kubeconfig, TEAMS[0]))
        sandbox.operator.close()


def test_a_job_whose_secret_it_may_not_read_is_adopted(installed: Installation, sandbox: Sandbox) -> None:
    """Only the kubelet reads the Secret; here no node runs the Job, which waits."""
    sandbox.operator.configure(engine="job", job_image="toolchain:none")
    sandbox.operator.start()
    control_queue(installed, paused=False)
    spec = {"credentialsSecretRef": sandbox.secret(token=TOKEN)}
    project = sandbox.project(code_repo="https://git.example.com/orders.git")
    setup = Setup.make(sandbox, "scripts", project=project, spec=spec, second=ASK)
    run = setup.reached("Running")["runRef"]
    wait_for(lambda: run["name"] in sandbox.api.kubectl("get", "jobs", "--output=name"), "the Job")
    sandbox.operator.kill()
    sandbox.operator.start()
    wait_for(
        lambda: "adopted a run that another operator left" in sandbox.operator.log.read_text(), "the Job to be adopted"
    )
    status = setup.status
    assert (status["phase"], status.get("runRef")) == ("Running", run), f"{status}\n{sandbox.operator.log_tail()}"
    assert "unexpected" not in sandbox.operator.log.read_text()
