"""What git says about remotes: does it need a person, or only time?"""

from __future__ import annotations

import pytest

from projectsetup.recipes.commands.trouble import trouble_with

SSH_END = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\n"

NEEDS_A_PERSON = [
    "fatal: could not read Username for 'https://git.example': terminal prompts disabled",
    "remote: Invalid username or password.\nfatal: Authentication failed for 'https://git.example/a.git/'",
    "fatal: unable to access 'https://git.example/a.git/': The requested URL returned error: 403",
    "fatal: repository 'https://git.example/a.git/' not found",
    f"git@git.example: Permission denied (publickey).\n{SSH_END}",
    f"ERROR: Repository not found.\n{SSH_END}",
    "remote: Permission to team/a.git denied to robot.\nfatal: unable to access 'https://git.example/a/'",
    f"Host key verification failed.\n{SSH_END}",
    f"fatal: '/srv/a.git' does not appear to be a git repository\n{SSH_END}",
    "fatal: detected dubious ownership in repository at '/srv/a.git'",
    "fatal: transport 'ext' not allowed",
    "fatal: unable to access 'https://git.example/a/': SSL certificate problem: self-signed certificate",
    " ! [remote rejected] main -> main (pre-receive hook declined)\nerror: failed to push some refs",
    f"git@git.example: Permission denied (publickey).\nfatal: The remote end hung up unexpectedly\n{SSH_END}",
    "fatal: something never seen before",
    "",
]
NEEDS_TIME = [
    "fatal: unable to access 'https://git.example/a/': Could not resolve host: git.example",
    "fatal: unable to access 'https://git.example/a/': Failed to connect to git.example port 443: Connection refused",
    "fatal: unable to access 'https://git.example/a/': The requested URL returned error: 503",
    "fatal: unable to access 'https://git.example/a/': The requested URL returned error: 429",
    "error: RPC failed; curl 56 Recv failure: Connection reset by peer\nfatal: the remote end hung up unexpectedly",
    "fatal: unable to access 'https://git.example/a/': Operation timed out after 300000 milliseconds",
    f"ssh: connect to host git.example port 22: Network is unreachable\n{SSH_END}",
    f"ssh: Could not resolve hostname git.example: Temporary failure in name resolution\n{SSH_END}",
    f"kex_exchange_identification: Connection closed by remote host\n{SSH_END}",
    "fetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF",
]


@pytest.mark.parametrize(("errors", "exit_code"), [(e, 1) for e in NEEDS_A_PERSON] + [(e, 75) for e in NEEDS_TIME])
def test_the_exit_code_follows_from_what_git_says(errors: str, exit_code: int) -> None:
    error = trouble_with("code repository", errors)
    assert error.exit_code == exit_code
    assert str(error).startswith("code repository: ")
    assert "\n" not in str(error)


def test_the_telling_line_is_repeated_and_the_noise_is_not() -> None:
    error = trouble_with("code repository", f"Warning: added a host\nERROR: Repository not found.\n{SSH_END}")
    assert str(error) == "code repository: ERROR: Repository not found."
