"""Gives git access to the project's repositories and to nothing else."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from projectsetup.git_hosts import host_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import PurePath

    from projectsetup.setup.credentials import GitCredentials

KEY_FILE: Final = "key"
KNOWN_HOSTS_FILE: Final = "known_hosts"

USERNAME_VARIABLE: Final = "PROJECT_GIT_USERNAME"
PASSWORD_VARIABLE: Final = "PROJECT_GIT_PASSWORD"  # noqa: S105  # the name of a variable

HOSTS_VARIABLE: Final = "PROJECT_GIT_HOSTS"

_HELPER: Final = (
    f'!f() {{ test "$1" = get && test -n "${PASSWORD_VARIABLE}" && '
    f'printf "username=%s\\npassword=%s\\n" "${USERNAME_VARIABLE}" "${PASSWORD_VARIABLE}"; }}; f'
)
_GUARDS: Final = (("core.hooksPath", "/dev/null"), ("core.fsmonitor", "false"), ("credential.helper", ""))
"""Protect recipes that run git with credentials in a repository of the workspace, though not from all its settings."""

_SSH: Final = ("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none")
_SSH_CHECKS: Final = ("-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null")


@dataclass(frozen=True, slots=True)
class GitAccess:
    """What git needs in a step: variables, and files for the private directory."""

    environment: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


def git_access(
    repositories: Collection[str], credentials: GitCredentials | None, private: PurePath, *, allow_file: bool
) -> GitAccess:
    """Access with these credentials, which git offers only to the hosts of `repositories`; none when None.

    Git and ssh ignore what the operator's user has configured: settings, keys and agent.
    """
    https, ssh = (credentials.https, credentials.ssh) if credentials else (None, None)
    environment = base_environment(allow_file=allow_file)
    files: dict[str, str] = {}
    if credentials:
        environment |= credential_helpers(repositories)
    if https and any(map(_https_origin, repositories)):
        environment |= {USERNAME_VARIABLE: https.username, PASSWORD_VARIABLE: https.password}
    if ssh:
        files = {KEY_FILE: ssh.private_key, KNOWN_HOSTS_FILE: ssh.known_hosts}
        environment["GIT_SSH_COMMAND"] = ssh_command(private)
    return GitAccess(environment, files)


def base_environment(*, allow_file: bool) -> dict[str, str]:
    """For steps without credentials: the allowed protocols, and no login."""
    return {
        "GIT_ALLOW_PROTOCOL": "https:ssh:file" if allow_file else "https:ssh",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": ssh_command(None),
    }


def credential_helpers(repositories: Iterable[str]) -> dict[str, str]:
    """A credential helper for each host of these repositories, and no other helper.

    It passes git the values of two variables, never as arguments, and nothing when they are not set.
    """
    origins = sorted({origin for url in repositories if (origin := _https_origin(url))})
    settings = (*_GUARDS, *((f"credential.{origin}.helper", _HELPER) for origin in origins))
    environment = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def repository_hosts(repositories: Iterable[str]) -> dict[str, str]:
    """The hosts and ports of the repositories, for a stage that compares them with the hosts in its Secret."""
    return {HOSTS_VARIABLE: " ".join(sorted({str(host) for url in repositories if (host := host_of(url))}))}


def ssh_command(private: PurePath | None) -> str:
    """The ssh command, with the key and the known hosts in the directory `private`, with neither when None."""
    key, known_hosts = (private / KEY_FILE, private / KNOWN_HOSTS_FILE) if private else ("/dev/null", "/dev/null")
    options = ("-o", f"IdentityFile={_ssh_path(key)}", "-o", f"UserKnownHostsFile={_ssh_path(known_hosts)}")
    return shlex.join((*_SSH, *_SSH_CHECKS, *options))


def _https_origin(url: str) -> str | None:
    parts = urlsplit(url)
    return f"https://{parts.netloc.rpartition('@')[2]}" if parts.scheme == "https" else None


def _ssh_path(path: PurePath | str) -> str:
    """A path quoted for an ssh option, in which spaces and percent signs are special."""
    return '"' + str(path).replace("%", "%%") + '"'
