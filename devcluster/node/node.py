"""A real node: its state, its programs, and the host resources that it takes and gives back."""

from __future__ import annotations

import ipaddress
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.control_plane import ApiServer, NodeAccess
from devcluster.files import write_private
from devcluster.node.containerd import Containerd
from devcluster.node.controllers import ControllerManager, Scheduler
from devcluster.node.host import ControlGroup, restore_settings, save_settings, unmount_below
from devcluster.node.kubelet import NODE, Kubelet, make_certificate, remove_log_links
from devcluster.node.network import Network, ServiceAddress, free_network, host_lock
from devcluster.ports import free_port
from devcluster.processes import Program, wait_until

NODE_PARTS: Final = ("containerd", "service-address", "controller-manager", "scheduler", "kubelet")
"""In start order."""
RUN: Final = Path("/run")
PREFIX: Final = "devcluster-"
"""The prefix of run folders and cgroups."""
KERNEL_SETTINGS: Final = RUN / "devcluster.kernel-settings"
USABLE_LIMIT: Final = 120.0


@dataclass(frozen=True, slots=True)
class NodeState:
    """The name of the node on this machine, and its networks, ports and secrets."""

    name: str
    pods: str
    services: str
    kubelet_port: int
    kubelet_health_port: int
    controller_manager_port: int
    scheduler_port: int
    kubelet_token: str
    controller_manager_token: str
    scheduler_token: str

    @classmethod
    def new(cls) -> NodeState:
        """A new name, free networks and ports, and new secrets."""
        name = f"dc{secrets.token_hex(4)}"
        network = free_network(name)
        return cls(
            name=name,
            pods=str(network.pods),
            services=str(network.services),
            kubelet_port=free_port(),
            kubelet_health_port=free_port(),
            controller_manager_port=free_port(),
            scheduler_port=free_port(),
            kubelet_token=secrets.token_hex(16),
            controller_manager_token=secrets.token_hex(16),
            scheduler_token=secrets.token_hex(16),
        )

    @property
    def network(self) -> Network:
        """The network of the node, whose bridge has the name of the node."""
        return Network(self.name, ipaddress.IPv4Network(self.pods), ipaddress.IPv4Network(self.services))


class Node:
    """The node of the cluster in `directory`.

    Sockets and container state are in a folder below /run, because socket paths must be short.
    """

    def __init__(self, directory: Path, state: NodeState, *, fsync: bool) -> None:
        self._directory = directory
        self._folder = directory / "node"
        self._state = state
        self._fsync = fsync
        self._run = RUN / f"{PREFIX}{state.name}"
        self._group = ControlGroup(f"{PREFIX}{state.name}")

    def prepare(self) -> None:
        """Create what the programs need on the host and does not exist yet."""
        self._state.network.create()
        self._group.create()
        with host_lock():
            save_settings(KERNEL_SETTINGS)
            self._run.mkdir(mode=0o700, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._state.network.configure(self._folder / "cni")
        make_certificate(self._folder, self._state.network.gateway)

    def api_access(self) -> NodeAccess:
        """What the API server needs to trust the node."""
        state = self._state
        logins = [
            f"{state.controller_manager_token},system:kube-controller-manager,system:kube-controller-manager",
            f"{state.scheduler_token},system:kube-scheduler,system:kube-scheduler",
            f'{state.kubelet_token},system:node:{NODE},system:node:{NODE},"system:nodes"',
        ]
        return NodeAccess(logins, state.services, self._folder / "kubelet.crt")

    def write_kubeconfigs(self, apiserver: ApiServer) -> None:
        """Write the kubeconfigs of the node programs; the API server must be running."""
        tokens = {
            "controller-manager": self._state.controller_manager_token,
            "scheduler": self._state.scheduler_token,
            "kubelet": self._state.kubelet_token,
        }
        for name, token in tokens.items():
            write_private(self._folder / f"{name}.kubeconfig", apiserver.kubeconfig_for(name, token))

    def containerd(self, programs: Mapping[str, Path]) -> Containerd:
        """The containerd of the node."""
        return Containerd(programs, self._directory, self._run, group=self._group, fsync=self._fsync)

    def parts(
        self, programs: Mapping[str, Path], apiserver: ApiServer
    ) -> dict[str, Containerd | ServiceAddress | ControllerManager | Scheduler | Kubelet]:
        """All programs of the node by name, as in NODE_PARTS."""
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
        """Wait until new pods can start."""
        wait_until(
            lambda: _is_usable(apiserver),
            what="the node and the default service account to be ready",
            limit=USABLE_LIMIT,
        )

    def remove(self) -> None:
        """Stop everything and clean up the host; safe to repeat."""
        for name in reversed(NODE_PARTS):
            Program(self._directory, name).kill()
        self._group.kill()
        unmount_below(self._run, *self._directory.iterdir())
        self._state.network.remove()
        self._group.remove()
        remove_log_links(self._directory)
        with host_lock():
            if self._run.exists():
                shutil.rmtree(self._run)
            if not any(RUN.glob(f"{PREFIX}*")):
                restore_settings(KERNEL_SETTINGS)


def _is_usable(apiserver: ApiServer) -> bool:
    node = apiserver.read(f"/api/v1/nodes/{NODE}") or {}
    conditions = {condition["type"]: condition["status"] for condition in node.get("status", {}).get("conditions", [])}
    if conditions.get("Ready") != "True" or node.get("spec", {}).get("taints"):
        return False
    default = "/api/v1/namespaces/default"
    return all(
        apiserver.read(f"{default}/{path}") for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt")
    )
