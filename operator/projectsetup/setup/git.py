"""How git is let into the project's repositories, and into nothing else."""

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
"""For recipes that run git with credentials in a repository of the workspace; its settings can still do more."""

_SSH: Final = ("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none")
_SSH_CHECKS: Final = ("-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null")


@dataclass(frozen=True, slots=True)
class GitAccess:
    """What a step is given so that git works: variables, and files for the private directory."""

    environment: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


def git_access(
    repositories: Collection[str], credentials: GitCredentials | None, private: PurePath, *, allow_file: bool
) -> GitAccess:
    """Access with these credentials, which are offered to the hosts of `repositories` alone; with None to nothing.

    Nothing that the operator's user has set up for git or ssh counts: no configuration, no key, no agent.
    """
    https, ssh = (credentials.https, credentials.ssh) if credentials else (None, None)
    environment = neutral_environment(allow_file=allow_file)
    files: dict[str, str] = {}
    if credentials:
        environment |= login_helpers(repositories)
    if https and any(map(_https_origin, repositories)):
        environment |= {USERNAME_VARIABLE: https.username, PASSWORD_VARIABLE: https.password}
    if ssh:
        files = {KEY_FILE: ssh.private_key, KNOWN_HOSTS_FILE: ssh.known_hosts}
        environment["GIT_SSH_COMMAND"] = ssh_command(private)
    return GitAccess(environment, files)


def neutral_environment(*, allow_file: bool) -> dict[str, str]:
    """For steps without credentials: what git may do, and nothing to log in with."""
    return {
        "GIT_ALLOW_PROTOCOL": "https:ssh:file" if allow_file else "https:ssh",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": ssh_command(None),
    }


def login_helpers(repositories: Iterable[str]) -> dict[str, str]:
    """A credential helper for each host, and no other.

    It gives git the values of two variables, which never become arguments, and nothing where they are not set.
    """
    origins = sorted({origin for url in repositories if (origin := _https_origin(url))})
    settings = (*_GUARDS, *((f"credential.{origin}.helper", _HELPER) for origin in origins))
    environment = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def repository_hosts(repositories: Iterable[str]) -> dict[str, str]:
    """The hosts of the repositories with their ports, for a stage that compares them with those of its Secret."""
    return {HOSTS_VARIABLE: " ".join(sorted({str(host) for url in repositories if (host := host_of(url))}))}


def ssh_command(private: PurePath | None) -> str:
    """ssh with the key and the known hosts in the directory `private`; with None without any."""
    key, known_hosts = (private / KEY_FILE, private / KNOWN_HOSTS_FILE) if private else ("/dev/null", "/dev/null")
    options = ("-o", f"IdentityFile={_ssh_path(key)}", "-o", f"UserKnownHostsFile={_ssh_path(known_hosts)}")
    return shlex.join((*_SSH, *_SSH_CHECKS, *options))


def _https_origin(url: str) -> str | None:
    parts = urlsplit(url)
    return f"https://{parts.netloc.rpartition('@')[2]}" if parts.scheme == "https" else None


def _ssh_path(path: PurePath | str) -> str:
    """A path as ssh reads it in an option, where spaces and percent signs mean something."""
    return '"' + str(path).replace("%", "%%") + '"'
