"""How git is let into the project's repositories, and into nothing else."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from projectsetup.setup.credentials import GitCredentials, HttpsLogin

KEY_FILE: Final = "key"
KNOWN_HOSTS_FILE: Final = "known_hosts"

_USERNAME: Final = "PROJECT_GIT_USERNAME"
_PASSWORD: Final = "PROJECT_GIT_PASSWORD"  # noqa: S105  # the name of a variable
_HELPER: Final = (
    f'!f() {{ test "$1" = get && printf "username=%s\\npassword=%s\\n" "${_USERNAME}" "${_PASSWORD}"; }}; f'
)
_SSH: Final = ("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none")
_SSH_CHECKS: Final = ("-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null")


@dataclass(frozen=True, slots=True)
class GitAccess:
    """What a step is given so that git works: variables, and files for the private directory."""

    environment: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


def git_access(
    repositories: Iterable[str], credentials: GitCredentials | None, private: Path, *, allow_file: bool
) -> GitAccess:
    """Access with these credentials, which are offered to the hosts of `repositories` alone; with None to nothing.

    Nothing that the operator's user has set up for git or ssh counts: no configuration, no key, no agent.
    """
    environment = {
        "GIT_ALLOW_PROTOCOL": "https:ssh:file" if allow_file else "https:ssh",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    files: dict[str, str] = {}
    key = known_hosts = "/dev/null"
    if credentials and credentials.https:
        environment |= _helper_environment(repositories, credentials.https)
    if credentials and credentials.ssh:
        files = {KEY_FILE: credentials.ssh.private_key, KNOWN_HOSTS_FILE: credentials.ssh.known_hosts}
        key, known_hosts = str(private / KEY_FILE), str(private / KNOWN_HOSTS_FILE)
    options = ("-o", f"IdentityFile={_ssh_path(key)}", "-o", f"UserKnownHostsFile={_ssh_path(known_hosts)}")
    environment["GIT_SSH_COMMAND"] = shlex.join((*_SSH, *_SSH_CHECKS, *options))
    return GitAccess(environment, files)


def _helper_environment(repositories: Iterable[str], login: HttpsLogin) -> dict[str, str]:
    """A credential helper for each host; the values stay in variables and never become arguments."""
    origins = sorted({origin for url in repositories if (origin := _https_origin(url))})
    if not origins:
        return {}
    environment = {"GIT_CONFIG_COUNT": str(len(origins)), _USERNAME: login.username, _PASSWORD: login.password}
    for number, origin in enumerate(origins):
        environment[f"GIT_CONFIG_KEY_{number}"] = f"credential.{origin}.helper"
        environment[f"GIT_CONFIG_VALUE_{number}"] = _HELPER
    return environment


def _https_origin(url: str) -> str | None:
    parts = urlsplit(url)
    return f"https://{parts.netloc.rpartition('@')[2]}" if parts.scheme == "https" else None


def _ssh_path(path: str) -> str:
    """A path as ssh reads it in an option, where spaces and percent signs mean something."""
    return '"' + path.replace("%", "%%") + '"'
