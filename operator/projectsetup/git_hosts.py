"""Hosts that git may connect to: how they are listed, and which are refused unless they are listed."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Self
from urllib.parse import urlsplit

GIT_HOSTS: Final = "PROJECTSETUP_GIT_HOSTS"

_DEFAULT_PORTS: Final = {"https": 443, "ssh": 22}
_HIGHEST_PORT: Final = 65_535
_ENTRY: Final = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_INTERNAL_DOMAINS: Final = ("cluster.local", "internal", "localdomain", "localhost", "metadata.goog", "pod", "svc")
_INTERNAL_NETWORKS: Final = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10")))
"""Not global, though Python or its older versions say so: Azure's host agent and what a site has for itself."""
_IPV4_WITHIN_IPV6: Final = tuple(map(ip_network, ("::/96", "64:ff9b::/96")))

Address = IPv4Address | IPv6Address


class InvalidHosts(ValueError):
    """A list of hosts cannot be read. The message is one line."""


@dataclass(frozen=True, slots=True)
class GitHost:
    """A host in one spelling, and the port to connect to; None in a list stands for every port."""

    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"

    @property
    def is_internal(self) -> bool:
        """Whether this is an address or a name of this machine, its links or the cluster.

        A literal address counts unless it is global: the private ranges are those of pods and services. Of names those
        without a dot count, which the cluster's DNS completes to services, and the domains that the cluster and the
        metadata services of clouds use. What another name resolves to is not asked.
        """
        address = _address(self.name)
        if address is not None:
            return any(map(_is_internal_address, (address, *_embedded(address))))
        return "." not in self.name or any(f".{self.name}".endswith(f".{domain}") for domain in _INTERNAL_DOMAINS)


@dataclass(frozen=True, slots=True)
class GitHosts:
    """The hosts that are listed."""

    listed: frozenset[GitHost] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Hosts, each with a port or without, separated by spaces, commas or newlines. Raises InvalidHosts."""
        return cls(frozenset(map(_entry, text.replace(",", " ").split())))

    def __contains__(self, host: GitHost) -> bool:
        return bool(self.listed & {host, GitHost(host.name, None)})

    def objection(self, host: GitHost) -> str | None:
        """Why a repository may not be on this host, in one line; None when it may."""
        if host in self:
            return None
        if self.listed:
            return f"{host} is not one of the hosts in {GIT_HOSTS}"
        if host.is_internal:
            return f"{host} is internal to a cluster, a machine or a link, and {GIT_HOSTS} does not list it"
        return None


ANY_PUBLIC_HOST: Final = GitHosts()
"""Nothing is listed."""


def host_of(url: str) -> GitHost | None:
    """The host that git connects to for this URL; None for a local repository. Raises InvalidHosts."""
    if url.startswith(("/", "file:")):
        return None
    if url.startswith(("https://", "ssh://")):
        try:
            parts = urlsplit(url)
            name, port = parts.hostname or "", parts.port
        except ValueError as exc:
            raise InvalidHosts("the host of the URL cannot be read") from exc
        return GitHost(_canonical(name), port or _DEFAULT_PORTS[parts.scheme])
    _, _, rest = url.partition("@")
    name, _, _ = rest[1:].partition("]") if rest.startswith("[") else rest.partition(":")
    if rest.startswith("[") and _address(name) is None:  # git reads [host:port]:path too
        raise InvalidHosts("the host of the URL cannot be read")
    return GitHost(_canonical(name), _DEFAULT_PORTS["ssh"])


def _entry(text: str) -> GitHost:
    match = _ENTRY.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or port == 0 or (port or 0) > _HIGHEST_PORT:
        raise InvalidHosts(f"{text[:80]!r} is not a host (expected git.example.com or git.example.com:8443)")
    name = match["host"].strip("[]")
    if match["host"].startswith("[") and _address(name) is None:
        raise InvalidHosts(f"{text[:80]!r} is not an IPv6 address")
    return GitHost(_canonical(name), port)


def _canonical(name: str) -> str:
    name = name.lower().rstrip(".")
    address = _address(name)
    return name if address is None else str(address)


def _address(name: str) -> Address | None:
    """The address that a resolver takes this for, also in the spellings of inet_aton: 127.1, 0x7f.1, 2130706433."""
    try:
        return ip_address(name) if ":" in name else IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        return None


def _embedded(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return ()
    within = IPv4Address(int(address) & 0xFFFFFFFF) if any(address in net for net in _IPV4_WITHIN_IPV6) else None
    return tuple(filter(None, (address.ipv4_mapped, address.sixtofour, within)))


def _is_internal_address(address: Address) -> bool:
    return not address.is_global or address.is_multicast or any(address in net for net in _INTERNAL_NETWORKS)
