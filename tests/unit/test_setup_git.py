"""Access to repositories, checked with git and ssh themselves."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from projectsetup.setup.credentials import GitCredentials, HttpsLogin, SshKey
from projectsetup.setup.git import GitAccess, git_access

REPOSITORIES = ("https://bob@code.example/team/project.git", "https://docs.example:8443/project")
LOGIN = GitCredentials(https=HttpsLogin("bob", "p%s'\"$(id)\\ =ä"))
KEY = GitCredentials(ssh=SshKey("KEY\n", "HOSTS\n"))


def access(credentials: GitCredentials | None, *, allow_file: bool = False, private: Path = Path("/p")) -> GitAccess:
    return git_access(REPOSITORIES, credentials, private, allow_file=allow_file)


def git(
    folder: Path, environment: dict[str, str], *arguments: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def filled(folder: Path, url: str, credentials: GitCredentials | None) -> str:
    return git(folder, dict(access(credentials).environment), "credential", "fill", given=f"url={url}\n\n").stdout


@pytest.mark.parametrize("url", [*REPOSITORIES, "https://code.example/other.git"])
def test_git_gets_the_login_for_the_hosts_of_the_project(tmp_path: Path, url: str) -> None:
    login = filled(tmp_path, url, LOGIN)
    assert "username=bob\n" in login
    assert "password=p%s'\"$(id)\\ =ä\n" in login


@pytest.mark.parametrize("url", ["https://evil.example/x", "https://docs.example/x", "https://code.example.evil.org/x"])
def test_git_gets_no_login_for_other_hosts(tmp_path: Path, url: str) -> None:
    assert "password" not in filled(tmp_path, url, LOGIN)
    assert "password" not in filled(tmp_path, REPOSITORIES[0], None)
    assert "PROJECT_GIT_PASSWORD" not in access(KEY).environment


def test_no_secret_is_in_the_configuration_or_a_command() -> None:
    environment = access(GitCredentials(LOGIN.https, KEY.ssh)).environment
    holding = [name for name, value in environment.items() if "$(id)" in value or "KEY\n" in value]
    assert holding == ["PROJECT_GIT_PASSWORD"]


@pytest.mark.parametrize(
    ("allow_file", "url", "said"),
    [
        (False, "http://127.0.0.1:1/x", "transport 'http' not allowed"),
        (False, "git://127.0.0.1:1/x", "transport 'git' not allowed"),
        (False, "ext::sh -c id", "transport 'ext' not allowed"),
        (False, "file:///nowhere", "transport 'file' not allowed"),
        (True, "file:///nowhere", "does not appear to be a git repository"),
        (False, "https://127.0.0.1:1/x", "unable to access"),
    ],
)
def test_git_uses_only_the_allowed_protocols(tmp_path: Path, allow_file: bool, url: str, said: str) -> None:
    environment = dict(access(None, allow_file=allow_file).environment)
    assert said in git(tmp_path, environment, "ls-remote", url).stderr


@pytest.fixture
def fake_ssh(tmp_path: Path) -> Path:
    """A program in place of ssh that prints its arguments."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >&2\nexit 1\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_ssh_uses_only_the_key_and_the_known_hosts(tmp_path: Path, fake_ssh: Path) -> None:
    private = tmp_path / "with space 100%"
    environment = dict(access(KEY, private=private).environment)
    environment["PATH"] = f"{fake_ssh.parent}:{os.environ['PATH']}"
    arguments = git(tmp_path, environment, "ls-remote", "ssh://git@code.example/x").stderr.splitlines()
    escaped = str(private).replace("%", "%%")
    assert arguments[:2] == ["-F", "/dev/null"]
    for option in (
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
        f'IdentityFile="{escaped}/key"',
        f'UserKnownHostsFile="{escaped}/known_hosts"',
    ):
        assert option in arguments


def test_ssh_parses_these_options_correctly(tmp_path: Path) -> None:
    private = tmp_path / "with space 100%"
    command = shlex.split(access(KEY, private=private).environment["GIT_SSH_COMMAND"])
    read = subprocess.run([*command, "-G", "code.example"], capture_output=True, text=True, check=True).stdout
    assert f"userknownhostsfile {private}/known_hosts\n" in read
    assert f"identityfile {private}/key\n".replace("%", "%%") in read  # ssh expands it when it opens the file
    assert "stricthostkeychecking true" in read
    assert "identityagent none" in read


def test_without_a_key_ssh_uses_no_key_of_the_operators_user() -> None:
    given = access(LOGIN)
    assert 'IdentityFile="/dev/null"' in given.environment["GIT_SSH_COMMAND"]
    assert given.files == {}


@pytest.mark.parametrize("credentials", [LOGIN, KEY])
def test_git_ignores_hooks_helpers_and_monitors_of_a_repository(tmp_path: Path, credentials: GitCredentials) -> None:
    git(tmp_path, {}, "init", "--quiet")
    for key in ("core.hooksPath", "core.fsmonitor"):
        git(tmp_path, {}, "config", key, "theirs")
    git(tmp_path, {}, "config", "credential.helper", '!echo "$@" >>stolen; echo password=theirs')
    environment = dict(access(credentials).environment)
    assert git(tmp_path, environment, "config", "core.hooksPath").stdout == "/dev/null\n"
    assert git(tmp_path, environment, "config", "core.fsmonitor").stdout == "false\n"
    for url in ("https://code.example/x", "https://evil.example/x"):
        for action in ("fill", "approve", "reject"):
            given = f"url={url}\nusername=bob\npassword=x\n\n"
            git(tmp_path, environment, "credential", action, given=given)
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("credentials", [None, LOGIN, KEY])
def test_git_never_asks_for_a_login(credentials: GitCredentials | None) -> None:
    assert access(credentials).environment["GIT_TERMINAL_PROMPT"] == "0"
