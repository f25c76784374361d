"""etcd and kube-apiserver: enough for resources, admission policies, RBAC, Leases and events."""

from __future__ import annotations

import base64
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from devcluster.ports import get_json, is_ok
from devcluster.processes import Program

ETCD_LIMIT: Final = 60.0
API_SERVER_LIMIT: Final = 90.0
SERVICES: Final = "10.0.0.0/24"
"""The Service network of a cluster without a node; its addresses lead nowhere."""


class Etcd:
    """A single etcd; its data survives kills and restarts."""

    def __init__(self, binary: Path, directory: Path, *, port: int, peer_port: int, fsync: bool) -> None:
        self.program = Program(directory, "etcd")
        self.url = f"http://127.0.0.1:{port}"
        self._binary = binary
        self._data = directory / "etcd"
        self._port = port
        self._peer_url = f"http://127.0.0.1:{peer_port}"
        self._fsync = fsync

    def spawn(self) -> None:
        """Start it without waiting; call `await_ready` afterwards."""
        self.program.spawn(
            [
                str(self._binary),
                "--name=devcluster",
                f"--data-dir={self._data}",
                f"--listen-client-urls={self.url}",
                f"--advertise-client-urls={self.url}",
                f"--listen-peer-urls={self._peer_url}",
                f"--initial-advertise-peer-urls={self._peer_url}",
                f"--initial-cluster=devcluster={self._peer_url}",
                "--log-level=warn",
                *([] if self._fsync else ["--unsafe-no-fsync"]),
            ]
        )

    def await_ready(self) -> None:
        """Wait until it serves clients."""
        self.program.await_ready(lambda: is_ok(f"{self.url}/readyz"), port=self._port, limit=ETCD_LIMIT)


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """How API server and node trust each other.

    `logins` are lines of a token file, `services` is the Service network, and `certificate` is that of the kubelet,
    which the API server also presents to it.
    """

    logins: Sequence[str]
    services: str
    certificate: Path


class ApiServer:
    """A kube-apiserver; `token` authenticates the user admin of the group system:masters."""

    def __init__(
        self, binary: Path, directory: Path, *, port: int, token: str, etcd_url: str, node: NodeAccess | None = None
    ) -> None:
        self.program = Program(directory, "apiserver")
        self.url = f"https://127.0.0.1:{port}"
        self._binary = binary
        self._folder = directory / "apiserver"
        self.certificate = self._folder / "apiserver.crt"
        """Its serving certificate and CA; the key beside it also signs service account tokens."""
        self.port = port
        self._token = token
        self._etcd_url = etcd_url
        self._node = node

    def spawn(self) -> None:
        """Start it without waiting; call `await_ready` afterwards."""
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
        """Wait until it is ready and the default namespace exists."""
        self.program.await_ready(self._is_ready, port=self.port, limit=API_SERVER_LIMIT)

    def kubeconfig(self) -> str:
        """A kubeconfig for the administrator, as YAML; it trusts only the certificate of this server."""
        return self.kubeconfig_for("admin", self._token)

    def kubeconfig_for(self, user: str, token: str) -> str:
        """A kubeconfig for another user."""
        return kubeconfig(self.url, self.certificate.read_bytes(), user=user, token=token)

    def read(self, path: str) -> Any:
        """The object at `path`, read as administrator; None if there is none."""
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


def kubeconfig(url: str, certificate: bytes, *, user: str, token: str) -> str:
    """A kubeconfig as YAML that trusts only this server certificate."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(certificate).decode()}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "devcluster",
            "clusters": [{"name": "devcluster", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": user}}],
        }
    )
