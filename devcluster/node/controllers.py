"""kube-controller-manager and kube-scheduler, which turn Jobs into pods on a node."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from devcluster.ports import is_ok
from devcluster.processes import Program

READY_LIMIT: Final = 60.0


class _Controller:
    """A program with a health endpoint that watches the API server."""

    def __init__(self, binary: Path, directory: Path, name: str, *, port: int) -> None:
        self.program = Program(directory, name)
        self._command = [str(binary), "--bind-address=127.0.0.1", f"--secure-port={port}"]
        self._url = f"https://127.0.0.1:{port}/healthz"
        self._port = port
        self._folder = directory / "node"
        self._certificates = self._folder / name
        self._certificate = self._certificates / f"{binary.name}.crt"

    def await_ready(self) -> None:
        """Wait until it is healthy."""
        self.program.await_ready(self._is_ready, port=self._port, limit=READY_LIMIT)

    def _spawn(self, options: Sequence[str]) -> None:
        self.program.spawn([*self._command, f"--cert-dir={self._certificates}", "--leader-elect=false", *options])

    def _is_ready(self) -> bool:
        return is_ok(self._url, context=ssl.create_default_context(cafile=str(self._certificate)))


class ControllerManager(_Controller):
    """kube-controller-manager with the default controllers; `certificate` and its key are those of the API server."""

    def __init__(self, binary: Path, directory: Path, *, port: int, certificate: Path) -> None:
        super().__init__(binary, directory, "controller-manager", port=port)
        self._authority = certificate

    def spawn(self) -> None:
        """Start it without waiting; call `await_ready` afterwards."""
        self._spawn(
            [
                f"--kubeconfig={self._folder / 'controller-manager.kubeconfig'}",
                "--use-service-account-credentials",
                f"--root-ca-file={self._write_root()}",
                f"--service-account-private-key-file={self._authority.with_suffix('.key')}",
                "--kube-api-qps=500",
                "--kube-api-burst=1000",
                "--v=1",
            ]
        )

    def _write_root(self) -> Path:
        """Write the CA certificate, which follows the serving certificate in the file of the API server."""
        root = self._folder / "root.crt"
        begin = "-----BEGIN CERTIFICATE-----"
        root.write_text(begin + self._authority.read_text().rpartition(begin)[2])
        return root


class Scheduler(_Controller):
    """kube-scheduler with its default settings."""

    def __init__(self, binary: Path, directory: Path, *, port: int) -> None:
        super().__init__(binary, directory, "scheduler", port=port)

    def spawn(self) -> None:
        """Start it without waiting; call `await_ready` afterwards."""
        connection = {"kubeconfig": str(self._folder / "scheduler.kubeconfig"), "qps": 500, "burst": 1000}
        settings: dict[str, Any] = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": connection,
            "leaderElection": {"leaderElect": False},
        }
        configuration = self._folder / "scheduler.yaml"
        configuration.write_text(yaml.safe_dump(settings))
        self._spawn([f"--config={configuration}", "--v=1"])
