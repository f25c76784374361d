"""The kubelet, which runs the pods of the node."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from devcluster.errors import DevclusterError
from devcluster.node.host import ControlGroup, bind
from devcluster.node.network import Network
from devcluster.node.prerequisites import tool
from devcluster.ports import is_ok
from devcluster.processes import Program

NODE: Final = "devcluster"
"""The name of the node in the API."""
READY_LIMIT: Final = 90.0
LOG_LINKS: Final = Path("/var/log/containers")
"""Where every kubelet links its logs, whatever its configuration."""
CERTIFICATE: Final = """\
[req]
prompt = no
distinguished_name = name
x509_extensions = use
[name]
CN = devcluster-apiserver
[use]
basicConstraints = critical, CA:TRUE
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = IP:{address}
"""


class Kubelet:
    """A kubelet; pods survive its death."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        run: Path,
        *,
        containerd: Path,
        network: Network,
        group: ControlGroup,
        port: int,
        health_port: int,
    ) -> None:
        self.program = Program(directory, "kubelet")
        self._binary = binary
        self._directory = directory
        self._run = run
        self._containerd = containerd
        self._network = network
        self._group = group
        self._port = port
        self._health_port = health_port

    def spawn(self) -> None:
        """Start it without waiting; call `await_ready` afterwards."""
        folder = self._directory / "node"
        configuration = folder / "kubelet.yaml"
        configuration.write_text(yaml.safe_dump(self._settings(folder)))
        self.program.spawn(
            self._group.joined(
                [
                    str(self._binary),
                    f"--config={configuration}",
                    f"--kubeconfig={folder / 'kubelet.kubeconfig'}",
                    f"--root-dir={self._root()}",
                    f"--cert-dir={folder}",
                    f"--hostname-override={NODE}",
                    f"--node-ip={self._network.gateway}",
                    "--v=1",
                ]
            )
        )

    def await_ready(self) -> None:
        """Wait until it is healthy."""
        url = f"http://127.0.0.1:{self._health_port}/healthz"
        self.program.await_ready(lambda: is_ok(url), port=self._health_port, limit=READY_LIMIT)

    def _root(self) -> Path:
        """Its data folder, bind-mounted at a short path: socket paths are limited to 107 bytes."""
        folder, short = self._directory / "kubelet", self._run / "kubelet"
        for place in (folder, short):
            place.mkdir(exist_ok=True)
        bind(folder, short)
        return short

    def _settings(self, folder: Path) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self._network.gateway,
            "port": self._port,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": self._health_port,
            "tlsCertFile": str(folder / "kubelet.crt"),
            "tlsPrivateKeyFile": str(folder / "kubelet.key"),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(folder / "kubelet.crt")},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{self._containerd}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self._group.path,
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "makeIPTablesUtilChains": False,
            "resolvConf": "",
            "clusterDNS": [self._network.gateway],
            "clusterDomain": "cluster.local",
            "podLogsDir": str(self._directory / "logs" / "pods"),
            "maxPods": 110,
            "volumeStatsAggPeriod": "10s",
            "serializeImagePulls": False,
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "kubeAPIQPS": 500,
            "kubeAPIBurst": 1000,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "0%",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
                "imagefs.inodesFree": "0%",
            },
        }


def make_certificate(folder: Path, address: str) -> Path:
    """Create kubelet.crt and kubelet.key in `folder`, which the kubelet serves with and the API server connects with.

    Both trust only this certificate, so nobody else can connect to the kubelet.
    """
    certificate = folder / "kubelet.crt"
    if certificate.exists():
        return certificate
    unfinished = folder / ".kubelet.crt"
    key = folder / "kubelet.key"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "3650"]
    done = subprocess.run(
        [str(tool("openssl")), "req", *kind, "-config", "/dev/stdin", "-keyout", str(key), "-out", str(unfinished)],
        input=CERTIFICATE.format(address=address),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise DevclusterError(f"openssl failed to create a certificate: {' '.join(done.stderr.split())[-400:]}")
    return unfinished.rename(certificate)


def remove_log_links(directory: Path) -> None:
    """Remove the log links that the kubelet of the cluster in `directory` created."""
    for link in LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(directory):
            link.unlink(missing_ok=True)
