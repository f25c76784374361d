"""The real operator with only the rights of its service account sets a project up from end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from projectsetup.api.constants import API_VERSION, KIND
from projectsetup.kube.lease import LEASE_NAME
from projectsetup.kube.queue_config import CONFIG_MAP
from projectsetup.projects.record import ProjectRecord
from tests.support.installation import CREDENTIALS, TEAMS, Installation
from tests.support.manifests import ACCOUNT, SYSTEM, Body
from tests.support.operator_process import OperatorProcess, wait_for

RECIPE: Final = """
name: look
description: Ends well when git was given a login
image: none:1
steps:
  - name: look
    status: initializing
    credentials: true
    run: printf 'url=%s\\n\\n' "$CODE_REPO" | git credential fill | grep -qx password=a-token-of-this-test
"""
SECRET: Final = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "git"},
    "stringData": {"token": "a-token-of-this-test"},
}


@pytest.fixture(scope="module")
def installed(kubeconfig: Path) -> Installation:
    return Installation(kubeconfig)


@pytest.fixture(params=["everywhere", "some-namespaces"])
def served(request: pytest.FixtureRequest, installed: Installation) -> Iterator[tuple[str, str]]:
    """A namespace that the operator may serve and read Secrets in, and the value of PROJECTSETUP_NAMESPACES."""
    if request.param == "some-namespaces":
        with installed.restricted_to_some_namespaces():
            yield TEAMS[0], ",".join(TEAMS)
        return
    namespace = f"work-{uuid4().hex[:8]}"
    installed.kubectl.make_namespace(namespace)
    installed.bind(CREDENTIALS, CREDENTIALS, f"--serviceaccount={SYSTEM}:{ACCOUNT}", namespace)
    installed.await_right("get", "secrets", "git", namespace=namespace)
    yield namespace, ""


@pytest.fixture
def operator(
    served: tuple[str, str], installed: Installation, database_url: str, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """The operator under its service account; its queue is paused at first."""
    control_queue(installed, paused=True)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "look.yaml").write_text(RECIPE)
    operator = OperatorProcess(
        tmp_path / "operator",
        kubeconfig=installed.operator_kubeconfig(tmp_path),
        database_url=database_url,
        operator_namespace=SYSTEM,
        namespaces=served[1],
        recipes_dir=str(recipes),
    )
    yield operator.start()
    operator.close()
    installed.kubectl("delete", "configmap", CONFIG_MAP, f"--namespace={SYSTEM}")


def control_queue(installed: Installation, *, paused: bool) -> None:
    data = {"paused": json.dumps(paused)}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": data}
    installed.kubectl("apply", f"--namespace={SYSTEM}", "--filename=-", given=body)


async def new_setup(installed: Installation, database_url: str, namespace: str) -> str:
    """The name of a ProjectSetup of a new project whose only step needs the Secret."""
    async with ProjectRecord.connect(database_url) as record:
        project = await record.create(name="orders", code_repo="https://git.example.com/orders.git")
    spec = {"recipe": "look", "credentialsSecretRef": {"name": "git"}}
    setup = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": str(project.id)}, "spec": spec}
    for body in (SECRET, setup):
        installed.kubectl("apply", f"--namespace={namespace}", "--filename=-", given=body)
    return str(project.id)


async def test_sets_a_project_up(
    served: tuple[str, str], operator: OperatorProcess, installed: Installation, database_url: str
) -> None:
    namespace = served[0]
    name = await new_setup(installed, database_url, namespace)

    def status() -> Body:
        found: Body = installed.kubectl.get("projectsetup", name, f"--namespace={namespace}").get("status", {})
        return found

    def reasons() -> set[str]:
        events = installed.kubectl.get("events.events.k8s.io", f"--namespace={namespace}")["items"]
        return {event["reason"] for event in events if event["regarding"]["name"] == name}

    wait_for(lambda: status().get("phase") == "Queued", "the setup to wait in the paused queue")
    control_queue(installed, paused=False)
    wait_for(lambda: status().get("phase") in {"Succeeded", "Failed"}, "the setup to end")

    assert status()["phase"] == "Succeeded", status()
    wait_for(lambda: reasons() >= {"Started", "Succeeded"}, "the events of the setup")
    lease = installed.kubectl.get("lease", LEASE_NAME, f"--namespace={SYSTEM}")
    assert lease["spec"]["holderIdentity"]
    assert not re.search(r"\b403\b|forbidden", operator.log.read_text())
