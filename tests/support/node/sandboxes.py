"""Operators on a cluster with a real node: each has its own database, recipes for busybox, and if needed its rights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from devcluster import Cluster
from devcluster.images import BUSYBOX
from tests.support.databases import create_database
from tests.support.manifests import ACCOUNT, BASE, Body, Kubectl, Refused, pick, read, token_kubeconfig
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import Sandbox

ROLES: Final = ("projectsetup-operator", "projectsetup-jobs")
"""The ClusterRoles of the operator in the namespaces of setups; it may not read Secrets."""
SCRIPTS: Final = f"""\
name: scripts
description: Three steps, each the script that its parameter holds
image: {BUSYBOX}
parameters:
  first: {{default: ":"}}
  second: {{default: ":", description: sees the git credentials}}
  third: {{default: ":"}}
  odd: {{default: "", description: text that a shell would understand}}
steps:
- {{name: first, status: initializing, run: eval "$PARAM_FIRST", env: {{OWN: of the first}}}}
- name: second
  status: compiling
  run: eval "$PARAM_SECOND"
  credentials: true
  timeout: 10s
  env: {{OWN: of the second}}
  retry: {{exitCodes: [42], output: ["Connection reset", "(?i)temporary failure", "(?:not|never) no\\\\w\\\\b"]}}
- {{name: third, status: committing, run: eval "$PARAM_THIRD"}}
"""
TOGETHER: Final = f"""\
name: together
description: Three steps in one container of the Job engine
image: {BUSYBOX}
parameters:
  first: {{default: ":"}}
  second: {{default: ":"}}
  third: {{default: ":"}}
steps:
- {{name: first, status: initializing, run: eval "$PARAM_FIRST"}}
- {{name: second, status: compiling, run: eval "$PARAM_SECOND"}}
- {{name: third, status: committing, run: eval "$PARAM_THIRD"}}
"""


def write_recipes(folder: Path, *texts: str) -> Path:
    """Write these recipes and the two above into a folder."""
    recipes = folder / "recipes"
    recipes.mkdir()
    for text in (SCRIPTS, TOGETHER, *texts):
        name = text.partition("\n")[0].removeprefix("name: ")
        (recipes / f"{name}.yaml").write_text(text)
    return recipes


@contextmanager
def node_sandbox(cluster: Cluster, folder: Path, *recipes: str, **settings: str) -> Iterator[Sandbox]:
    """A sandbox whose operator is not started yet and runs Jobs unless `settings` say otherwise."""
    folder.mkdir()
    url = create_database(cluster.database_url)
    settings = {"engine": "job", "recipes_dir": str(write_recipes(folder, *recipes)), **settings}
    sandbox = Sandbox(folder, kubeconfig=cluster.kubeconfig, database_url=url, environment=None, **settings)
    try:
        yield sandbox
    finally:
        sandbox.operator.close()
        sandbox.api.kubectl("delete", "namespace", sandbox.api.namespace, "--wait=false")


def operator_kubeconfig(administrator: Path, namespaces: Sequence[str], folder: Path) -> Path:
    """A kubeconfig of a service account in the first namespace that has the operator's rights in all of them, only."""
    home = namespaces[0]
    kubectl, objects = Kubectl(administrator), read(BASE / "operator-access.yaml")
    for role in ROLES:
        kubectl("apply", "--filename=-", given=pick(objects, "ClusterRole", role))
    for kind in ("ServiceAccount", "Role"):
        body = pick(objects, kind, ACCOUNT)
        kubectl("apply", "--filename=-", given={**body, "metadata": {"name": ACCOUNT, "namespace": home}})
    kubectl("apply", "--filename=-", given=_binding("Role", ACCOUNT, home, home))
    for namespace in namespaces:
        for role in ROLES:
            kubectl("apply", "--filename=-", given=_binding("ClusterRole", role, namespace, home))

    token = kubectl("create", "token", ACCOUNT, f"--namespace={home}", "--duration=1h").strip()
    path = token_kubeconfig(administrator, token, folder / "operator-kubeconfig")
    own = Kubectl(path)
    for namespace in namespaces:
        for right in (("watch", "projectsetups.codemyspec.com"), ("create", "jobs.batch")):
            wait_for(partial(_may, own, *right, namespace), f"{right} to be allowed in {namespace}")
    assert not _may(own, "get", "secrets", home)
    return path


def _binding(kind: str, role: str, namespace: str, home: str) -> Body:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{role}-{kind.lower()}", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": home}],
    }


def _may(kubectl: Kubectl, verb: str, resource: str, namespace: str) -> bool:
    try:
        kubectl("auth", "can-i", verb, resource, f"--namespace={namespace}")
    except Refused:
        return False
    return True
