"""One real node: its parts, and what it takes of the machine and gives back."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from devcluster.apiserver import ApiServer, NodeSide
from devcluster.node.cgroups import ControlGroup
from devcluster.node.containerd import Containerd
from devcluster.node.controllers import ControllerManager, Scheduler
from devcluster.node.kernel import put_settings_back, remember_settings
from devcluster.node.kubelet import NODE, Kubelet, make_certificate, remove_legacy_logs
from devcluster.node.mounts import unmount_below
from devcluster.node.network import alone
from devcluster.node.service import ServiceAddress
from devcluster.node.state import NodeState
from devcluster.private import write_private
from devcluster.processes import Program, wait_until

NODE_PARTS: Final = ("containerd", "service-address", "controller-manager", "scheduler", "kubelet")
"""In the order in which they are started."""
RUN: Final = Path("/run")
PREFIX: Final = "devcluster-"
"""Of the names of run folders and control groups."""
KERNEL_SETTINGS: Final = RUN / "devcluster.kernel-settings"
USABLE_LIMIT: Final = 120.0


class Node:
    """What a cluster in `directory` has besides its control plane. A folder below /run keeps sockets and the state of
    containers: the paths of sockets have to be short, wherever the cluster is."""

    def __init__(self, directory: Path, state: NodeState, *, fsync: bool) -> None:
        self._directory = directory
        self._folder = directory / "node"
        self._state = state
        self._fsync = fsync
        self._run = RUN / f"{PREFIX}{state.name}"
        self._group = ControlGroup(f"{PREFIX}{state.name}")

    def prepare(self) -> None:
        """Take what the programs need of the machine; what is there already stays."""
        self._state.network.create()
        self._group.create()
        with alone():
            remember_settings(KERNEL_SETTINGS)
            self._run.mkdir(mode=0o700, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._state.network.configure(self._folder / "cni")
        make_certificate(self._folder, self._state.network.gateway)

    def api_side(self) -> NodeSide:
        """What the API server has to know."""
        state = self._state
        logins = [
            f"{state.controller_manager_token},system:kube-controller-manager,system:kube-controller-manager",
            f"{state.scheduler_token},system:kube-scheduler,system:kube-scheduler",
            f'{state.kubelet_token},system:node:{NODE},system:node:{NODE},"system:nodes"',
        ]
        return NodeSide(logins, state.services, self._folder / "kubelet.crt")

    def write_kubeconfigs(self, apiserver: ApiServer) -> None:
        """Let the programs of the node log in; the API server must have been started."""
        tokens = {
            "controller-manager": self._state.controller_manager_token,
            "scheduler": self._state.scheduler_token,
            "kubelet": self._state.kubelet_token,
        }
        for name, token in tokens.items():
            write_private(self._folder / f"{name}.kubeconfig", apiserver.kubeconfig_for(name, token))

    def containerd(self, programs: Mapping[str, Path]) -> Containerd:
        """What runs the containers."""
        return Containerd(programs, self._directory, self._run, group=self._group, fsync=self._fsync)

    def parts(
        self, programs: Mapping[str, Path], apiserver: ApiServer
    ) -> dict[str, Containerd | ServiceAddress | ControllerManager | Scheduler | Kubelet]:
        """All programs of the node, by the names of NODE_PARTS."""
        state, network, containerd = self._state, self._state.network, self.containerd(programs)
        return {
            "containerd": containerd,
            "service-address": ServiceAddress(
                self._directory, address=network.service_address, apiserver_port=apiserver.port
            ),
            "controller-manager": ControllerManager(
                programs["kube-controller-manager"],
                self._directory,
                port=state.controller_manager_port,
                certificate=apiserver.certificate,
            ),
            "scheduler": Scheduler(programs["kube-scheduler"], self._directory, port=state.scheduler_port),
            "kubelet": Kubelet(
                programs["kubelet"],
                self._directory,
                self._run,
                containerd=containerd.socket,
                network=network,
                group=self._group,
                port=state.kubelet_port,
                health_port=state.kubelet_health_port,
            ),
        }

    def await_usable(self, apiserver: ApiServer) -> None:
        """Return when a pod that is created now is started."""
        wait_until(
            lambda: _is_usable(apiserver),
            what="the node and the default service account to be ready",
            limit=USABLE_LIMIT,
        )

    def remove(self) -> None:
        """End all that runs and give everything back to the machine; all of it may be gone already."""
        for name in reversed(NODE_PARTS):
            Program(self._directory, name).kill()
        self._group.kill()
        unmount_below(self._run, *self._directory.iterdir())
        self._state.network.remove()
        self._group.remove()
        remove_legacy_logs(self._directory)
        with alone():
            if self._run.exists():
                shutil.rmtree(self._run)
            if not any(RUN.glob(f"{PREFIX}*")):
                put_settings_back(KERNEL_SETTINGS)


def _is_usable(apiserver: ApiServer) -> bool:
    node = apiserver.read(f"/api/v1/nodes/{NODE}") or {}
    conditions = {condition["type"]: condition["status"] for condition in node.get("status", {}).get("conditions", [])}
    if conditions.get("Ready") != "True" or node.get("spec", {}).get("taints"):
        return False
    default = "/api/v1/namespaces/default"
    return all(
        apiserver.read(f"{default}/{path}") for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt")
    )
