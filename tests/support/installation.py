"""An installed operator: its rights, its identity, and the rights of users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kubernetes import client, config

from projectsetup.kube.lease import LEASE_NAME
from tests.support.manifests import ACCOUNT, MANIFESTS, SYSTEM, Kubectl, token_kubeconfig
from tests.support.operator_process import wait_for

SETUPS: Final = "codemyspec.com:projectsetups"
CREDENTIALS: Final = "projectsetup-credentials"
JOBS: Final = "projectsetup-jobs"
TEAMS: Final = ("team-a", "team-b")
"""The namespaces that the overlay `namespaced` serves."""


class Installation:
    """manifests/base, installed on the cluster that `kubeconfig` names."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubectl = Kubectl(kubeconfig)
        self._kubeconfig = kubeconfig
        api = config.new_client_from_config(str(kubeconfig))
        self._reviews = client.AuthorizationV1Api(api)
        self._install()

    def _install(self) -> None:
        self.kubectl.install()
        self.await_right("watch", SETUPS, namespace="")
        self.await_right("watch", "pods", namespace="")
        self.await_right("get", "coordination.k8s.io:leases", LEASE_NAME, namespace=SYSTEM)

    def await_right(
        self, verb: str, resource: str, name: str = "", *, namespace: str, user: str | None = None, given: bool = True
    ) -> None:
        """Return once the access is allowed, or with `given` False denied: bindings take effect with a delay."""
        wait_for(
            lambda: self.may(verb, resource, name, namespace=namespace, user=user) is given,
            f"{verb} {resource} in {namespace or 'the cluster'} to be {'allowed' if given else 'denied'}",
        )

    def may(self, verb: str, resource: str, name: str, *, namespace: str, user: str | None = None) -> bool:
        """Whether the operator, or `user`, has this access; `resource` is for example `pods/exec` or `batch:jobs`."""
        group, _, kind = resource.rpartition(":")
        kind, _, subresource = kind.partition("/")
        service_account = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
        groups = ["system:authenticated"]
        review = client.V1SubjectAccessReview(
            spec=client.V1SubjectAccessReviewSpec(
                user=user or service_account,
                groups=groups if user else [*groups, "system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}"],
                resource_attributes=client.V1ResourceAttributes(
                    verb=verb, group=group, resource=kind, subresource=subresource, name=name, namespace=namespace
                ),
            )
        )
        status = self._reviews.create_subject_access_review(review).status
        return status is not None and bool(status.allowed)

    def bind(self, name: str, role: str, subject: str, namespace: str) -> None:
        """Bind a ClusterRole in one namespace."""
        self.kubectl("create", "rolebinding", name, f"--clusterrole={role}", subject, f"--namespace={namespace}")

    def operator_kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig with a token of the operator's service account and nothing else."""
        token = self.kubectl("create", "token", ACCOUNT, f"--namespace={SYSTEM}", "--duration=1h").strip()
        return token_kubeconfig(self._kubeconfig, token, folder / "operator-kubeconfig")

    @contextmanager
    def restricted_to_some_namespaces(self) -> Iterator[None]:
        """Use the bindings of the overlay `namespaced`; restores those of base afterwards."""
        for name in TEAMS:
            self.kubectl.make_namespace(name)
        self.kubectl("apply", f"--kustomize={MANIFESTS / 'overlays' / 'namespaced'}")
        self.kubectl("delete", "clusterrolebinding", ACCOUNT, JOBS)
        self.await_right("watch", SETUPS, namespace="", given=False)
        for name in TEAMS:
            self.await_right("watch", SETUPS, namespace=name)
            self.await_right("get", "secrets", "any", namespace=name)
            self.await_right("watch", "pods", namespace=name)
        self.await_right("watch", "pods", namespace="", given=False)
        try:
            yield
        finally:
            for namespace in TEAMS:
                self.kubectl("delete", "rolebinding", ACCOUNT, JOBS, CREDENTIALS, f"--namespace={namespace}")
            self._install()
