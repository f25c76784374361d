"""Hosts that git may connect to: the list of allowed hosts, and those refused by default."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Self
from urllib.parse import unquote, urlsplit

GIT_HOSTS: Final = "PROJECTSETUP_GIT_HOSTS"

_DEFAULT_PORTS: Final = {"https": 443, "ssh": 22}
_HIGHEST_PORT: Final = 65_535
_ENTRY: Final = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_CLUSTER_DOMAINS: Final = ("cluster.local", "metadata.goog", "metadata.google.internal", "pod", "svc")
_LOCAL_DOMAINS: Final = ("localdomain", "localhost")
_METADATA: Final = tuple(map(ip_network, ("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::/32")))
"""Metadata services and host agents of clouds that are not at link-local addresses."""
_SITE_NETWORKS: Final = tuple(map(ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10")))
"""Not global, although some versions of Python say they are."""
_IPV4_WITHIN_IPV6: Final = tuple(map(ip_network, ("::/96", "64:ff9b::/96")))

Address = IPv4Address | IPv6Address


class InvalidHosts(ValueError):
    """A host or a list of hosts is invalid. The message is one line."""


@dataclass(frozen=True, slots=True)
class GitHost:
    """A host in canonical spelling, and a port; in a list, None means every port."""

    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"

    @property
    def is_internal(self) -> bool:
        """Whether this is a name of the cluster's DNS, a link-local address, or a metadata service of a cloud.

        Names are not resolved.
        """
        addresses = self._addresses
        if addresses:
            return any(map(_is_link_local, addresses))
        return _is_below(self.name, _CLUSTER_DOMAINS)

    @property
    def is_private(self) -> bool:
        """Whether this is a non-global address, or a name that only local DNS can resolve.

        Inside a cluster these are pods, services and the machine's own ports.
        """
        addresses = self._addresses
        if addresses:
            return any(map(_is_private_address, addresses))
        return "." not in self.name or _is_below(self.name, _LOCAL_DOMAINS)

    @property
    def _addresses(self) -> tuple[Address, ...]:
        address = _address(self.name)
        return () if address is None else (address, *_embedded(address))


@dataclass(frozen=True, slots=True)
class GitHosts:
    """The allowed hosts, and whether private hosts must be listed to be allowed."""

    listed: frozenset[GitHost] = frozenset()
    refuses_private: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse hosts with or without a port, separated by spaces, commas or newlines. Raises InvalidHosts."""
        return cls(frozenset(map(_entry, text.replace(",", " ").split())))

    @classmethod
    def configured(cls, text: str = "") -> Self:
        """Like `parse`, for this process: in a pod, private hosts may belong to the cluster. Raises InvalidHosts."""
        return replace(cls.parse(text), refuses_private="KUBERNETES_SERVICE_HOST" in os.environ)

    def __contains__(self, host: GitHost) -> bool:
        return bool(self.listed & {host, GitHost(host.name, None)})

    def objection(self, host: GitHost) -> str | None:
        """Why a repository may not be on this host, in one line; None if it may."""
        if host in self:
            return None
        if self.listed:
            return f"{host} is not one of the hosts in {GIT_HOSTS}"
        if host.is_internal or (self.refuses_private and host.is_private):
            return f"{host} is an internal address; an administrator can allow it in {GIT_HOSTS}"
        return None


ANY_HOST: Final = GitHosts()
"""Nothing is listed: every host except internal ones is allowed."""


def host_of(url: str) -> GitHost | None:
    """The host that git connects to for this URL; None for a local repository. Raises InvalidHosts."""
    if url.startswith(("/", "file:")):
        return None
    if url.startswith(("https://", "ssh://")):
        try:
            parts = urlsplit(url)
            name, port = parts.hostname or "", parts.port
        except ValueError as exc:
            raise InvalidHosts("the host of the URL cannot be parsed") from exc
        if parts.scheme == "ssh":
            _refuse_another_host(unquote(url.removeprefix(f"ssh://{parts.netloc}")))
        return GitHost(_canonical(name), port or _DEFAULT_PORTS[parts.scheme])
    _, _, rest = url.partition("@")
    name, _, path = rest[1:].partition("]") if rest.startswith("[") else rest.partition(":")
    _refuse_another_host(path)
    if rest.startswith("[") and _address(name) is None:  # git reads [host:port]:path too
        raise InvalidHosts("the host of the URL cannot be parsed")
    return GitHost(_canonical(name), _DEFAULT_PORTS["ssh"])


def _refuse_another_host(path: str) -> None:
    """Over ssh, git connects to a host in brackets after an @, wherever in the URL that is."""
    if "@[" in path:
        raise InvalidHosts(
            "a repository URL must not contain '@[' in its path: git would take what follows for the host"
        )


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
    """The address in `name`, also in the spellings of inet_aton: 127.1, 0x7f.1, 2130706433; None if it is a name."""
    try:
        return ip_address(name) if ":" in name else IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        return None


def _embedded(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses embedded in an IPv6 address."""
    if isinstance(address, IPv4Address):
        return ()
    within = IPv4Address(int(address) & 0xFFFFFFFF) if any(address in net for net in _IPV4_WITHIN_IPV6) else None
    return tuple(filter(None, (address.ipv4_mapped, address.sixtofour, within)))


def _is_below(name: str, domains: tuple[str, ...]) -> bool:
    return any(f".{name}".endswith(f".{domain}") for domain in domains)


def _is_link_local(address: Address) -> bool:
    special = address.is_link_local or address.is_unspecified or address.is_multicast
    return special or any(address in network for network in _METADATA)


def _is_private_address(address: Address) -> bool:
    return not address.is_global or any(address in network for network in _SITE_NETWORKS)
