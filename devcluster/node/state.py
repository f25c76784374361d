"""What a cluster keeps of its node."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass

from devcluster.node.network import Network, free_network
from devcluster.ports import free_port


@dataclass(frozen=True, slots=True)
class NodeState:
    """The name under which the node is found on this machine, its networks, ports and secrets."""

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
        """A new name, free networks and ports, fresh secrets."""
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
        """The network of the node; the bridge bears the node's name."""
        return Network(self.name, ipaddress.IPv4Network(self.pods), ipaddress.IPv4Network(self.services))
