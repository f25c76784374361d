"""The network of a node: a private bridge for pods, and the Service address of the API server."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devcluster.errors import DevclusterError
from devcluster.node import forwarder
from devcluster.node.prerequisites import tool
from devcluster.processes import Program

RANGES: Final = tuple(map(ipaddress.IPv4Network, ("10.213.0.0/16", "172.29.0.0/16", "198.18.0.0/16")))
"""Each holds 128 pairs of networks: the lower half for pods, the upper half for Services."""
LINKS: Final = Path("/sys/class/net")
CNI_RESULTS: Final = Path("/var/lib/cni/results")
"""Where the CNI library of containerd caches results, whatever its configuration."""
LIMIT: Final = 30.0
READY_LIMIT: Final = 30.0
HTTPS: Final = 443


@dataclass(frozen=True, slots=True)
class Network:
    """A bridge with the first address of the pod network, and the address of the Service `kubernetes`."""

    bridge: str
    pods: ipaddress.IPv4Network
    services: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        """The address at which pods reach the host."""
        return str(self.pods[1])

    @property
    def service_address(self) -> str:
        """The address of the Service `kubernetes`."""
        return str(self.services[1])

    def create(self) -> None:
        """Create the bridge, or what is missing of it, with a fixed hardware address."""
        if not (LINKS / self.bridge).exists():
            hardware = "02:" + ":".join(f"{byte:02x}" for byte in self.pods[1].packed + b"\1")
            _ip("link", "add", "name", self.bridge, "address", hardware, "type", "bridge")
        for address in (f"{self.gateway}/{self.pods.prefixlen}", f"{self.service_address}/32"):
            _ip("address", "replace", address, "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def remove(self) -> None:
        """Remove the bridge, the interfaces attached to it, and cached CNI results."""
        ports = LINKS / self.bridge / "brif"
        while (LINKS / self.bridge).exists():
            for link in [*(port.name for port in ports.iterdir()), self.bridge]:
                self._delete(link)
        for result in CNI_RESULTS.glob(f"{self.bridge}-*"):
            result.unlink(missing_ok=True)

    def configure(self, folder: Path) -> None:
        """Write the CNI configuration; the plugins also record assigned addresses in `folder`."""
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
def host_lock() -> Iterator[None]:
    """Machine-wide lock for what nodes share: networks, kernel settings and the run folder."""
    links = os.open(LINKS, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(links, fcntl.LOCK_EX)
        yield
    finally:
        os.close(links)


def free_network(bridge: str) -> Network:
    """A network that overlaps no address and no route of this machine; DevclusterError if there is none."""
    taken = _taken()
    for choice in RANGES:
        lower, upper = (list(half.subnets(new_prefix=24)) for half in choice.subnets())
        for pods, services in random.sample(list(zip(lower, upper, strict=True)), len(lower)):
            if not any(pods.overlaps(other) or services.overlaps(other) for other in taken):
                return Network(bridge, pods, services)
    raise DevclusterError(f"no free network in {', '.join(map(str, RANGES))}")


def _taken() -> list[ipaddress.IPv4Network]:
    """All networks of this machine except the default route."""
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


class ServiceAddress:
    """Forwards connections to the Service `kubernetes` to the API server on 127.0.0.1."""

    def __init__(self, directory: Path, *, address: str, apiserver_port: int) -> None:
        self.program = Program(directory, "service-address")
        self._command = [
            sys.executable,
            "-I",
            str(Path(forwarder.__file__)),
            address,
            str(HTTPS),
            str(apiserver_port),
        ]

    def spawn(self) -> None:
        """Start it without waiting; call `await_ready` afterwards."""
        self.program.spawn(self._command)

    def await_ready(self) -> None:
        """Wait until it listens."""
        self.program.await_ready(lambda: True, port=HTTPS, limit=READY_LIMIT)
