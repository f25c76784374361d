"""kube-apiserver: alone it is enough for resources, admission policies, RBAC, Leases and events."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devcluster.http import get_json, is_ok
from devcluster.kubeconfig import kubeconfig
from devcluster.processes import Program

READY_LIMIT: Final = 90.0
SERVICES: Final = "10.0.0.0/24"
"""The addresses of Services where there is no node on which they could lead anywhere."""


@dataclass(frozen=True, slots=True)
class NodeSide:
    """What the API server has to know of a node: who logs in with which token (lines of a token file), the network of
    the Services, and the certificate of the kubelet, with which it is let in as well."""

    logins: Sequence[str]
    services: str
    certificate: Path


class ApiServer:
    """One kube-apiserver; `admin` of the group system:masters logs in with `token`."""

    def __init__(
        self, binary: Path, directory: Path, *, port: int, token: str, etcd_url: str, node: NodeSide | None = None
    ) -> None:
        self.program = Program(directory, "apiserver")
        self.url = f"https://127.0.0.1:{port}"
        self._binary = binary
        self._folder = directory / "apiserver"
        self.certificate = self._folder / "apiserver.crt"
        """Its own, with the authority that signed it; the key beside it signs service account tokens too."""
        self.port = port
        self._token = token
        self._etcd_url = etcd_url
        self._node = node

    def spawn(self) -> None:
        """Start it; `await_ready` follows."""
        self._folder.mkdir(exist_ok=True)
        tokens = self._folder / "tokens.csv"
        tokens.touch(mode=0o600)
        logins = [f'{self._token},admin,admin,"system:masters"', *(self._node.logins if self._node else ())]
        tokens.write_text("".join(f"{login}\n" for login in logins))
        key = self.certificate.with_suffix(".key")
        self.program.spawn(
            [
                str(self._binary),
                f"--etcd-servers={self._etcd_url}",
                f"--cert-dir={self._folder}",
                f"--secure-port={self.port}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                f"--service-cluster-ip-range={self._node.services if self._node else SERVICES}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                *self._node_options(),
                "--v=1",
            ]
        )

    def await_ready(self) -> None:
        """Return when it answers as ready and its first namespaces are there."""
        self.program.await_ready(self._is_ready, port=self.port, limit=READY_LIMIT)

    def kubeconfig(self) -> str:
        """A kubeconfig for the administrator, as YAML; it trusts the certificate of this server only."""
        return self.kubeconfig_for("admin", self._token)

    def kubeconfig_for(self, user: str, token: str) -> str:
        """The same for somebody else."""
        return kubeconfig(self.url, self.certificate.read_bytes(), user=user, token=token)

    def read(self, path: str) -> Any:
        """What the administrator gets to read at `path`, None where there is nothing."""
        return get_json(self.url + path, token=self._token, context=self._context())

    def _node_options(self) -> list[str]:
        if self._node is None:
            return []
        certificate = self._node.certificate
        return [
            f"--kubelet-certificate-authority={certificate}",
            f"--kubelet-client-certificate={certificate}",
            f"--kubelet-client-key={certificate.with_suffix('.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-admission-plugins=NodeRestriction",
        ]

    def _is_ready(self) -> bool:
        context = self._context()
        return all(
            is_ok(self.url + path, token=self._token, context=context)
            for path in ("/readyz", "/api/v1/namespaces/default")
        )

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


def new_token() -> str:
    """A token for a new API server."""
    return secrets.token_hex(16)
