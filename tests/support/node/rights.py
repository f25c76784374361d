"""The operator's own rights in some namespaces, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from tests.support.manifests import ACCOUNT, BASE, Body, Kubectl, Refused, pick, read
from tests.support.operator_process import wait_for

ROLES: Final = ("projectsetup-operator", "projectsetup-jobs")
"""The ClusterRoles that it has where setups are; it may not read Secrets."""


def operator_kubeconfig(administrator: Path, namespaces: Sequence[str], folder: Path) -> Path:
    """A kubeconfig of a service account in the first of these namespaces, which may be the operator in all of them."""
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

    content = yaml.safe_load(administrator.read_text())
    token = kubectl("create", "token", ACCOUNT, f"--namespace={home}", "--duration=1h").strip()
    content["users"] = [{"name": user["name"], "user": {"token": token}} for user in content["users"]]
    path = folder / "operator-kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))
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
