"""kube-apiserver alone: enough for resources, admission policies, RBAC, Leases and events."""

from __future__ import annotations

import base64
import secrets
import ssl
from pathlib import Path
from typing import Final

import yaml

from devcluster.http import is_ok
from devcluster.processes import Program

READY_LIMIT: Final = 90.0


class ApiServer:
    """One kube-apiserver; `admin` of the group system:masters logs in with `token`."""

    def __init__(self, binary: Path, directory: Path, *, port: int, token: str, etcd_url: str) -> None:
        self.program = Program(directory, "apiserver")
        self.url = f"https://127.0.0.1:{port}"
        self._binary = binary
        self._folder = directory / "apiserver"
        self._certificate = self._folder / "apiserver.crt"
        self._port = port
        self._token = token
        self._etcd_url = etcd_url

    def spawn(self) -> None:
        """Start it; `await_ready` follows. The key of its own certificate signs service account tokens too."""
        self._folder.mkdir(exist_ok=True)
        tokens = self._folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        key = self._certificate.with_suffix(".key")
        self.program.spawn(
            [
                str(self._binary),
                f"--etcd-servers={self._etcd_url}",
                f"--cert-dir={self._folder}",
                f"--secure-port={self._port}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.0.0.0/24",
                f"--token-auth-file={tokens}",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                "--v=1",
            ]
        )

    def await_ready(self) -> None:
        """Return when it answers as ready and its first namespaces are there."""
        self.program.await_ready(self._is_ready, port=self._port, limit=READY_LIMIT)

    def kubeconfig(self) -> str:
        """A kubeconfig for the administrator, as YAML; it trusts the certificate of this server only."""
        cluster = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(self._certificate.read_bytes()).decode(),
        }
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "devcluster",
                "clusters": [{"name": "devcluster", "cluster": cluster}],
                "users": [{"name": "admin", "user": {"token": self._token}}],
                "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": "admin"}}],
            }
        )

    def _is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self._certificate))
        return all(
            is_ok(self.url + path, token=self._token, context=context)
            for path in ("/readyz", "/api/v1/namespaces/default")
        )


def new_token() -> str:
    """A token for a new API server."""
    return secrets.token_hex(16)
