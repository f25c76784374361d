"""What a step may log in with, from the Secret of a ProjectSetup."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from projectsetup.git_hosts import GitHosts, InvalidHosts, host_of
from projectsetup.text import harmful_character

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOKEN_USERNAME: Final = "x-access-token"  # noqa: S105  # a name, no secret
"""The user name that goes with a token: hosts take any, and GitHub wants this one for its app tokens."""

_SHORT_PASSWORD: Final = 8
_OPENSSH: Final = "b3BlbnNzaC1rZXktdjEAAAAA"
_OPENSSH_WITHOUT_CIPHER: Final = f"{_OPENSSH}BG5vbmUA"
"""Base64 of how a key begins in OpenSSH's own format; one without a passphrase names the cipher `none`."""
_PEM_ENCRYPTED: Final = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")
_ON_A_TOKEN: Final = tuple(
    base64.b64encode(bytes(at) + name)[4 if at else 0 : -4].decode()
    for name in (b"sk-ssh-ed25519@", b"sk-ecdsa-sha2-nistp256@")
    for at in range(3)
)
"""Their key types in base64, wherever they stand."""
_ALLOWED: Final = "username and password, token, or ssh-privatekey and known_hosts"


class InvalidCredentials(ValueError):
    """The Secret cannot be used. The message is one line and repeats no value."""


@dataclass(frozen=True, slots=True)
class HttpsLogin:
    """For repositories at `https://`."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SshKey:
    """For repositories at `ssh://` and `user@host:path`; only hosts in `known_hosts` are talked to."""

    private_key: str = field(repr=False)
    known_hosts: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GitCredentials:
    """At least one of `https` and `ssh` is there. They are for `hosts` alone; with None for any."""

    https: HttpsLogin | None = None
    ssh: SshKey | None = None
    hosts: GitHosts | None = None

    @classmethod
    def from_secret(cls, data: Mapping[str, str]) -> Self:
        """From the `data` of a Secret, whose values are base64. Raises InvalidCredentials."""
        credentials = cls(_https(data), _ssh(data), _hosts(data))
        if credentials.https is None and credentials.ssh is None:
            raise InvalidCredentials(f"the credentials Secret must hold {_ALLOWED}")
        return credentials

    def check_hosts(self, repositories: Iterable[str]) -> None:
        """Raises InvalidCredentials when a repository is on a host that these credentials are not for."""
        for host in filter(None, map(host_of, repositories)):
            if self.hosts is not None and host not in self.hosts:
                raise InvalidCredentials(f"the credentials Secret does not name {host} in its key `host`")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that nobody may read. A short password is recognized in base64 by what goes before it."""
        https = (self.https.password,) if self.https else ()
        if self.https and len(self.https.password) < _SHORT_PASSWORD:
            https = (*https, f"{self.https.username}:{self.https.password}")
        return (*https, self.ssh.private_key) if self.ssh else https


def _https(data: Mapping[str, str]) -> HttpsLogin | None:
    username, password, token = (_line(data, key) for key in ("username", "password", "token"))
    if password and token:
        raise InvalidCredentials("the credentials Secret must hold either password or token, not both")
    if password and not username:
        raise InvalidCredentials("the credentials Secret holds a password and no username")
    if username and not (password or token):
        raise InvalidCredentials("the credentials Secret holds a username and neither password nor token")
    secret = password or token
    return HttpsLogin(username or TOKEN_USERNAME, secret) if secret else None


def _ssh(data: Mapping[str, str]) -> SshKey | None:
    private_key, known_hosts = (_lines(data, key) for key in ("ssh-privatekey", "known_hosts"))
    if private_key and not known_hosts:
        raise InvalidCredentials("the credentials Secret holds ssh-privatekey and no known_hosts")
    if known_hosts and not private_key:
        raise InvalidCredentials("the credentials Secret holds known_hosts and no ssh-privatekey")
    if private_key and (fault := _fault_of_key(private_key)):
        raise InvalidCredentials(f"ssh-privatekey in the credentials Secret {fault}")
    return SshKey(f"{private_key}\n", f"{known_hosts}\n") if private_key else None


def _fault_of_key(key: str) -> str | None:
    """Why nothing can log in with this key alone."""
    if "PRIVATE KEY-----" not in key:
        return "is not a private key (expected -----BEGIN … PRIVATE KEY-----)"
    body = "".join(line for line in key.splitlines() if not line.startswith("-----"))
    encrypted = body.startswith(_OPENSSH) and not body.startswith(_OPENSSH_WITHOUT_CIPHER)
    if encrypted or any(mark in key for mark in _PEM_ENCRYPTED):
        return "is protected by a passphrase, which nobody can type: make a key without one for this purpose"
    if any(kind in body for kind in _ON_A_TOKEN):
        return "belongs to a hardware token, which somebody has to touch: make a key of another type for this purpose"
    return None


def _hosts(data: Mapping[str, str]) -> GitHosts | None:
    if "host" not in data:
        return None
    try:
        hosts = GitHosts.parse(_text(data, "host"))
    except InvalidHosts as exc:
        raise InvalidCredentials(f"host in the credentials Secret: {exc}") from exc
    if not hosts.listed:
        raise InvalidCredentials("host in the credentials Secret is empty: name the hosts, or leave the key out")
    return hosts


def _line(data: Mapping[str, str], key: str) -> str:
    text = _text(data, key).rstrip("\r\n")
    if harmful_character(text) is not None:
        raise InvalidCredentials(f"{key} in the credentials Secret must be one line of printable text")
    return text


def _lines(data: Mapping[str, str], key: str) -> str:
    """Lines that end as ssh wants them, also where the Secret was made on Windows."""
    return "\n".join(_text(data, key).splitlines()).strip()


def _text(data: Mapping[str, str], key: str) -> str:
    try:
        text = base64.b64decode(data.get(key, ""), validate=True).decode()
    except (binascii.Error, UnicodeError) as exc:
        raise InvalidCredentials(f"{key} in the credentials Secret is not base64 of UTF-8 text") from exc
    if "\0" in text:
        raise InvalidCredentials(f"{key} in the credentials Secret must not hold a NUL character")
    return text
