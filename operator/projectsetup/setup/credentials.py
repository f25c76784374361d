"""Git credentials from the Secret of a ProjectSetup."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from projectsetup.git_hosts import GitHosts, InvalidHosts, host_of
from projectsetup.text import harmful_character

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOKEN_USERNAME: Final = "x-access-token"  # noqa: S105  # a name, not a secret
"""The user name sent with a token: hosts accept any, but GitHub requires this one for app tokens."""

_SHORT_PASSWORD: Final = 8
_OPENSSH: Final = "b3BlbnNzaC1rZXktdjEAAAAA"
_OPENSSH_WITHOUT_CIPHER: Final = f"{_OPENSSH}BG5vbmUA"
"""How a key in OpenSSH's format begins in base64; without a passphrase its cipher is `none`."""
_PEM_ENCRYPTED: Final = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")
_HARDWARE_KEY_TYPES: Final = tuple(
    base64.b64encode(bytes(at) + name)[4 if at else 0 : -4].decode()
    for name in (b"sk-ssh-ed25519@", b"sk-ecdsa-sha2-nistp256@")
    for at in range(3)
)
"""Key types of hardware tokens in base64, at each of its three alignments."""
_ALLOWED: Final = "username and password, token, or ssh-privatekey and known_hosts"


class InvalidCredentials(ValueError):
    """The Secret is unusable. The message is one line and contains no value."""


@dataclass(frozen=True, slots=True)
class HttpsLogin:
    """For repositories at `https://`."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SshKey:
    """For repositories at `ssh://` and `user@host:path`; ssh connects only to hosts in `known_hosts`."""

    private_key: str = field(repr=False)
    known_hosts: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GitCredentials:
    """At least one of `https` and `ssh` is set. They are only for `hosts`, for all hosts when None."""

    https: HttpsLogin | None = None
    ssh: SshKey | None = None
    hosts: GitHosts | None = None

    @classmethod
    def from_secret(cls, data: Mapping[str, str]) -> Self:
        """Parse the `data` of a Secret, whose values are base64. Raises InvalidCredentials."""
        credentials = cls(_https(data), _ssh(data), _hosts(data))
        if credentials.https is None and credentials.ssh is None:
            raise InvalidCredentials(f"the credentials Secret must hold {_ALLOWED}")
        return credentials

    def check_hosts(self, repositories: Iterable[str]) -> None:
        """Raises InvalidCredentials when a repository is on a host that the Secret does not name."""
        for host in filter(None, map(host_of, repositories)):
            if self.hosts is not None and host not in self.hosts:
                raise InvalidCredentials(f"the credentials Secret does not name {host} in its key `host`")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values to scrub. A short password is listed with its user name as well, to recognize base64 of both."""
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
    if private_key and (problem := _key_problem(private_key)):
        raise InvalidCredentials(f"ssh-privatekey in the credentials Secret {problem}")
    return SshKey(f"{private_key}\n", f"{known_hosts}\n") if private_key else None


def _key_problem(key: str) -> str | None:
    """Why this key cannot be used without a person."""
    if "PRIVATE KEY-----" not in key:
        return "is not a private key (expected -----BEGIN … PRIVATE KEY-----)"
    body = "".join(line for line in key.splitlines() if not line.startswith("-----"))
    encrypted = body.startswith(_OPENSSH) and not body.startswith(_OPENSSH_WITHOUT_CIPHER)
    if encrypted or any(mark in key for mark in _PEM_ENCRYPTED):
        return "has a passphrase, which the operator cannot type; create a key without one"
    if any(kind in body for kind in _HARDWARE_KEY_TYPES):
        return "needs a hardware token, which a person must touch; create a key of another type"
    return None


def _hosts(data: Mapping[str, str]) -> GitHosts | None:
    if "host" not in data:
        return None
    try:
        hosts = GitHosts.parse(_text(data, "host"))
    except InvalidHosts as exc:
        raise InvalidCredentials(f"host in the credentials Secret: {exc}") from exc
    if not hosts.listed:
        raise InvalidCredentials("host in the credentials Secret is empty; name the hosts, or remove the key")
    return hosts


def _line(data: Mapping[str, str], key: str) -> str:
    text = _text(data, key).rstrip("\r\n")
    if harmful_character(text) is not None:
        raise InvalidCredentials(f"{key} in the credentials Secret must be one line of printable text")
    return text


def _lines(data: Mapping[str, str], key: str) -> str:
    """Lines with Unix line ends, which ssh requires, even if the Secret was written on Windows."""
    return "\n".join(_text(data, key).splitlines()).strip()


def _text(data: Mapping[str, str], key: str) -> str:
    try:
        text = base64.b64decode(data.get(key, ""), validate=True).decode()
    except (binascii.Error, UnicodeError) as exc:
        raise InvalidCredentials(f"{key} in the credentials Secret is not base64 of UTF-8 text") from exc
    if "\0" in text:
        raise InvalidCredentials(f"{key} in the credentials Secret must not contain a NUL character")
    return text
