"""etcd and kube-apiserver: all of a control plane that resources, policies, RBAC, Leases and events need."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import yaml

from devcluster.errors import DevclusterError
from devcluster.processes import Program

READY_LIMIT: Final = 90.0


class Etcd:
    """One etcd without peers."""

    def __init__(self, binary: Path, directory: Path, *, port: int, peer_port: int, fsync: bool) -> None:
        self.program = Program(directory, "etcd")
        self._binary = binary
        self._data = directory / "etcd"
        self.url = f"http://127.0.0.1:{port}"
        self._peer_url = f"http://127.0.0.1:{peer_port}"
        self._fsync = fsync

    def start(self) -> None:
        """Start it and return when it answers."""
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
        self.program.await_ready(lambda: _is_ok(f"{self.url}/readyz"), limit=READY_LIMIT)


class ApiServer:
    """One kube-apiserver; `admin` of group system:masters logs in with a token."""

    def __init__(self, binary: Path, directory: Path, *, port: int, token: str, etcd: Etcd) -> None:
        self.program = Program(directory, "apiserver")
        self._binary = binary
        self._certificates = directory / "certificates"
        self._tokens = directory / "tokens.csv"
        self._token = token
        self._etcd = etcd
        self._port = port
        self.url = f"https://127.0.0.1:{port}"

    def start(self) -> None:
        """Start it and return when it is ready."""
        self._certificates.mkdir(exist_ok=True)
        key = self._certificates / "service-accounts.key"
        if not key.exists():
            _make_key(key)
        self._tokens.touch(mode=0o600)
        self._tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        self.program.spawn(
            [
                str(self._binary),
                f"--etcd-servers={self._etcd.url}",
                f"--cert-dir={self._certificates}",
                f"--secure-port={self._port}",
                "--bind-address=127.0.0.1",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.0.0.0/24",
                f"--token-auth-file={self._tokens}",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                "--shutdown-delay-duration=0s",
                "--v=1",
            ]
        )
        self.program.await_ready(self._is_ready, limit=READY_LIMIT)

    def kubeconfig(self) -> str:
        """A kubeconfig for the administrator, as YAML."""
        authority = base64.b64encode(self._certificate().read_bytes()).decode()
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "devcluster",
                "clusters": [
                    {
                        "name": "devcluster",
                        "cluster": {"server": self.url, "certificate-authority-data": authority},
                    }
                ],
                "users": [{"name": "admin", "user": {"token": self._token}}],
                "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": "admin"}}],
            }
        )

    def _certificate(self) -> Path:
        return self._certificates / "apiserver.crt"

    def _is_ready(self) -> bool:
        if not self._certificate().exists() or not self._get("/readyz"):
            return False
        return self._get("/api/v1/namespaces/default")

    def _get(self, path: str) -> bool:
        try:
            context = ssl.create_default_context(cafile=str(self._certificate()))
        except (OSError, ssl.SSLError):
            return False
        return _is_ok(self.url + path, token=self._token, context=context)


def new_token() -> str:
    """A token for a new API server."""
    return secrets.token_hex(16)


def _make_key(path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevclusterError(f"the key of the service accounts could not be made: {done.stderr.strip()[-200:]}")
    path.chmod(0o600)


def _is_ok(url: str, *, token: str | None = None, context: ssl.SSLContext | None = None) -> bool:
    request = urllib.request.Request(url)  # noqa: S310  # addresses of this machine, made above
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=5) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004  # OK
    except (OSError, urllib.error.URLError, json.JSONDecodeError):
        return False
