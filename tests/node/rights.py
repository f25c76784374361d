"""The operator's own rights on a cluster where nobody runs it as a Deployment."""

from __future__ import annotations

from tests.installation import Installation
from tests.manifests import BASE, SYSTEM


class Rights(Installation):
    """Its service account and the bindings of manifests/base, and nothing else of them."""

    def _install(self) -> None:
        for file in ("namespace.yaml", "operator-access.yaml"):
            self.kubectl("apply", f"--filename={BASE / file}")
        self.await_right("watch", "pods", namespace="")
        self.await_right("get", "configmaps", "projectsetup-queue", namespace=SYSTEM)
