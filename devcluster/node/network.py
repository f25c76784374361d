"""The network of one node: a bridge of its own that holds the pods, and nothing beyond this machine."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devcluster.errors import DevclusterError
from devcluster.node.machine import tool

RANGES: Final = tuple(map(ipaddress.IPv4Network, ("10.213.0.0/16", "172.29.0.0/16", "198.18.0.0/16")))
"""Each holds 128 pairs of networks: the lower half is for pods, the upper half for services."""
LINKS: Final = Path("/sys/class/net")
CNI_RESULTS: Final = Path("/var/lib/cni/results")
"""Where the library that containerd uses keeps what plugins answered, whatever it is told."""
LIMIT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Network:
    """A bridge that has the first address of the pods' network (the host, for them) and that of the API's Service."""

    bridge: str
    pods: ipaddress.IPv4Network
    services: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        """The address under which pods reach the host."""
        return str(self.pods[1])

    @property
    def service_address(self) -> str:
        """The address of the Service `kubernetes`."""
        return str(self.services[1])

    def create(self) -> None:
        """Make the bridge, or what is missing of it. Its hardware address stays the same whatever pods come and go."""
        if not (LINKS / self.bridge).exists():
            hardware = "02:" + ":".join(f"{byte:02x}" for byte in self.pods[1].packed + b"\1")
            _ip("link", "add", "name", self.bridge, "address", hardware, "type", "bridge")
        for address in (f"{self.gateway}/{self.pods.prefixlen}", f"{self.service_address}/32"):
            _ip("address", "replace", address, "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def remove(self) -> None:
        """Remove the bridge with all that is attached to it, and what plugins left behind."""
        ports = LINKS / self.bridge / "brif"
        while (LINKS / self.bridge).exists():
            for link in [*(port.name for port in ports.iterdir()), self.bridge]:
                self._delete(link)
        for result in CNI_RESULTS.glob(f"{self.bridge}-*"):
            result.unlink(missing_ok=True)

    def configure(self, folder: Path) -> None:
        """Write the one configuration of the plugins; `folder` keeps the addresses that are given too."""
        configuration = folder / "net.d"
        configuration.mkdir(parents=True, exist_ok=True)
        addresses = {
            "type": "host-local",
            "ranges": [[{"subnet": str(self.pods), "gateway": self.gateway}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(folder / "addresses"),
        }
        plugins = [{"type": "bridge", "bridge": self.bridge, "ipam": addresses}]
        settings = {"cniVersion": "1.0.0", "name": self.bridge, "plugins": plugins}
        (configuration / "10-bridge.conflist").write_text(json.dumps(settings))

    @staticmethod
    def _delete(link: str) -> None:
        try:
            _ip("link", "delete", link)
        except DevclusterError:
            if (LINKS / link).exists():
                raise


@contextmanager
def alone() -> Iterator[None]:
    """Only one of all processes of this machine at a time takes, or gives back, what nodes share."""
    links = os.open(LINKS, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(links, fcntl.LOCK_EX)
        yield
    finally:
        os.close(links)


def free_network(bridge: str) -> Network:
    """One that overlaps no address and no route of this machine; DevclusterError where there is none."""
    taken = _taken()
    for choice in RANGES:
        lower, upper = (list(half.subnets(new_prefix=24)) for half in choice.subnets())
        for pods, services in random.sample(list(zip(lower, upper, strict=True)), len(lower)):
            if not any(pods.overlaps(other) or services.overlaps(other) for other in taken):
                return Network(bridge, pods, services)
    raise DevclusterError(f"no network of {', '.join(map(str, RANGES))} is free")


def _taken() -> list[ipaddress.IPv4Network]:
    """All networks that this machine knows, the default route left out."""
    routes = [route["dst"] for route in _ip_json("route", "show", "table", "all")]
    addresses = [
        f"{address['local']}/{address['prefixlen']}"
        for link in _ip_json("address", "show")
        for address in link.get("addr_info", [])
    ]
    return [ipaddress.IPv4Network(text, strict=False) for text in [*routes, *addresses] if text != "default"]


def _ip_json(*arguments: str) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(_ip("-json", "-4", *arguments) or "[]")
    return answer


def _ip(*arguments: str) -> str:
    command = [str(tool("ip")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode != 0:
        raise DevclusterError(f"ip {' '.join(arguments)}: {' '.join(done.stderr.split())[-400:]}")
    return done.stdout
