"""A tenant of one namespace, the attacker of many tests, who may do there what teams usually may and a little more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.manifests import Body, Kubectl, Refused
from tests.support.operator_process import wait_for

EVERYTHING: Final = ["*"]
RIGHTS: Final[list[Body]] = [
    {"apiGroups": [""], "resources": ["pods", "pods/status", "configmaps", "events"], "verbs": EVERYTHING},
    {"apiGroups": ["batch"], "resources": ["jobs", "jobs/status"], "verbs": EVERYTHING},
    {"apiGroups": ["codemyspec.com"], "resources": ["projectsetups"], "verbs": EVERYTHING},
]
NODE: Final = "no-such-node"
"""Pods are bound to it, so that they look as if they ran, and no kubelet touches them."""


class Tenant:
    """May do everything to pods, Jobs, their status and ProjectSetups in `namespace`, and nothing elsewhere."""

    def __init__(self, administrator: Path, namespace: str) -> None:
        self.namespace = namespace
        self._kubectl = Kubectl(administrator)
        self._as = (f"--as=mallory-of-{namespace}", f"--namespace={namespace}")
        self._grant(namespace)

    def kubectl(self, *arguments: str, given: object = None) -> str:
        """What kubectl prints for this tenant. Raises `Refused`."""
        return self._kubectl(*arguments, *self._as, given=given)

    def get(self, *arguments: str) -> Body:
        """What this tenant sees."""
        return self._kubectl.get(*arguments, *self._as)

    def make_pod(
        self,
        name: str,
        *,
        labels: Mapping[str, str],
        controller: Body | None = None,
        finalizers: Sequence[str] = (),
    ) -> None:
        """A pod of which the status is what the tenant writes, since no kubelet ever touches it."""
        owners = [] if controller is None else [controller]
        self.kubectl(
            "create",
            "--filename=-",
            given={
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "labels": labels,
                    "ownerReferences": owners,
                    "finalizers": list(finalizers),
                },
                "spec": {**_harmless(), "nodeName": NODE},
            },
        )

    def make_job(self, name: str, *, labels: Mapping[str, str]) -> str:
        """A suspended Job; its uid."""
        spec = {"suspend": True, "template": {"metadata": {"labels": labels}, "spec": _harmless()}}
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels}, "spec": spec}
        self.kubectl("create", "--filename=-", given=body)
        uid: str = self.get("job", name)["metadata"]["uid"]
        return uid

    def patch(self, kind: str, name: str, change: Body, *, status: bool = False) -> None:
        """Merge a change into an object, or into its status."""
        where = ("--subresource=status",) if status else ()
        self.kubectl("patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}", *where)

    def _grant(self, namespace: str) -> None:
        api = "rbac.authorization.k8s.io"
        head = {"apiVersion": f"{api}/v1", "metadata": {"name": "tenant", "namespace": namespace}}
        self._kubectl("apply", "--filename=-", given={**head, "kind": "Role", "rules": RIGHTS})
        binding = {
            **head,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "tenant"},
            "subjects": [{"apiGroup": api, "kind": "User", "name": f"mallory-of-{namespace}"}],
        }
        self._kubectl("apply", "--filename=-", given=binding)
        wait_for(lambda: self._may("create", "pods"), "the tenant to have his rights")

    def _may(self, *right: str) -> bool:
        try:
            self.kubectl("auth", "can-i", *right)
        except Refused:
            return False
        return True


def _harmless() -> Body:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [{"name": "first", "image": "none.invalid/x:1", "command": ["true"]}],
    }
