"""Credentials reach the steps that declare them, and git, and nothing else."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.api_server import Body
from tests.support.git_host import GitHost, git_host
from tests.support.operator_sandbox import NO_BACKOFF, NewSandbox, Sandbox, message
from tests.support.setup_handle import Setup

USERNAME, PASSWORD = "bob", "p%s'\"$(id)\\ =ä&7"
TOKEN = "t0ken-of-nobody-in-particular"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nbm9ib2R5cyBrZXk=\nc2Vjb25kIGxpbmU=\n-----END OPENSSH PRIVATE KEY-----"
HOSTS = "git.example.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"
CODE, DOCS = "https://git.example.test/team/code.git", "https://docs.example.test:8443/docs.git"

FILL = 'printf "url=%s\\n\\n" "$1" | git credential fill'
ASK = f'ask() {{ {FILL} > "$PARAM_PLACE/$2" 2>&1 || true; }}\n'
ASK_ALL = (
    f'{ASK}ask "$CODE_REPO" "code-$1"; ask "$DOCS_REPO" "docs-$1"; ask https://git.example.test.evil.test/x "evil-$1"'
)
ANCESTORS = """
pid=$$
while [ "$pid" -gt 1 ]; do
    tr '\\0' ' ' < /proc/$pid/cmdline
    pid=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$pid/status)
done > "$PARAM_PLACE/arguments-$1"
"""
LOOK = f'look() {{ {ASK_ALL}; env > "$PARAM_PLACE/environment-$1"; {ANCESTORS} }}; look '
LOOK_IN_EACH_STEP = {step: f"{LOOK}{step}" for step in ("first", "second", "third")}

COPY_KEY = """
key=$(expr "$GIT_SSH_COMMAND" : '.*IdentityFile="\\([^"]*\\)"') || key=none
hosts=$(expr "$GIT_SSH_COMMAND" : '.*UserKnownHostsFile="\\([^"]*\\)"') || hosts=none
mkdir "$PARAM_PLACE/$1"
cp -p "$key" "$PARAM_PLACE/$1/key" 2>/dev/null || true
cp "$hosts" "$PARAM_PLACE/$1/known_hosts" 2>/dev/null || true
"""
COPIES = {step: f"copy() {{ {COPY_KEY} }}; copy {step}" for step in ("first", "second", "third")}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and a git host needs a certificate")
    with git_host(tmp_path_factory.mktemp("host"), username=USERNAME, password=PASSWORD) as host:
        yield host


def set_up(sandbox: Sandbox, secret: Body, *, project: str | None = None, **parameters: str) -> tuple[Setup, str, Body]:
    """A setup with this Secret, and its reason and status at the end."""
    spec = {"credentialsSecretRef": secret}
    setup = Setup.make(sandbox, "scripts", project=project, annotations=NO_BACKOFF, spec=spec, parameters=parameters)
    return setup, *setup.ended()


@pytest.mark.parametrize(
    ("values", "username", "password"),
    [
        ({"username": USERNAME, "password": PASSWORD}, USERNAME, PASSWORD),
        ({"username": USERNAME, "token": TOKEN}, USERNAME, TOKEN),
        ({"token": TOKEN}, "x-access-token", TOKEN),
    ],
)
def test_only_the_step_with_credentials_can_log_in_and_only_at_the_projects_hosts(
    sandbox: Sandbox, tmp_path: Path, values: dict[str, str], username: str, password: str
) -> None:
    secret = sandbox.secret(**values)
    code, docs = (url.replace(".git", f"-{secret['name']}.git") for url in (CODE, DOCS))
    project = sandbox.project(code_repo=code, docs_repo=docs)
    assert set_up(sandbox, secret, project=project, place=str(tmp_path), **LOOK_IN_EACH_STEP)[1] == "SetupSucceeded"
    for asked in ("code-second", "docs-second"):
        answer = (tmp_path / asked).read_text().splitlines()
        assert {f"username={username}", f"password={password}"} <= set(answer)
    others = [path for path in tmp_path.iterdir() if path.name not in {"code-second", "docs-second"}]
    assert len(others) == 13
    for path in others:
        assert path.name == "environment-second" or password not in path.read_text()


def test_only_the_step_with_credentials_finds_the_ssh_key(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = sandbox.secret(ssh_privatekey=KEY, known_hosts=HOSTS)
    assert set_up(sandbox, secret, place=str(tmp_path), **COPIES)[1] == "SetupSucceeded"
    assert (tmp_path / "second" / "key").read_text().strip() == KEY
    assert (tmp_path / "second" / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "second" / "known_hosts").read_text().strip() == HOSTS
    for step in ("first", "third"):
        assert all(not path.read_bytes() for path in (tmp_path / step).iterdir())


def test_git_just_works_in_the_step_with_credentials(new_sandbox: NewSandbox, host: GitHost) -> None:
    commit = (
        "git init -q -b main . && git -c user.name=a -c user.email=a@example.test commit -q --allow-empty -m first\n"
        "git push -q $CODE_REPO main && exit 1\n"
        'git ls-remote "file://$PWD" && exit 1\n'
        "test $GIT_ALLOW_PROTOCOL = https:ssh"
    )
    push = (
        "git push -q $CODE_REPO main; git push -q $DOCS_REPO main; git ls-remote $CODE_REPO\n"
        "echo CODE_COMMIT=$(git rev-parse main) > $STEP_OUTPUTS"
    )
    with new_sandbox(
        environment={"GIT_SSL_CAINFO": str(host.certificate)}, allow_file_repos="false", git_hosts="localhost"
    ) as sandbox:
        sandbox.operator.start()
        project = sandbox.project(code_repo=host.repository("code.git"), docs_repo=host.repository("docs.git"))
        secret = sandbox.secret(username=USERNAME, password=PASSWORD)
        _, why, status = set_up(sandbox, secret, project=project, first=commit, second=push)
    assert why == "SetupSucceeded", message(status)
    assert status["commits"]["codeRepo"] == host.commit_of("code.git") == host.commit_of("docs.git")


def test_a_secret_that_a_step_prints_is_never_published(sandbox: Sandbox) -> None:
    secret = sandbox.secret(username=USERNAME, password=PASSWORD, ssh_privatekey=KEY, known_hosts=HOSTS)
    give_away = """
        echo "password is $PROJECT_GIT_PASSWORD"; env; set -x; : "$PROJECT_GIT_PASSWORD"; set +x
        printf %s "$PROJECT_GIT_USERNAME:$PROJECT_GIT_PASSWORD" | base64
        echo "fatal: Authentication failed for 'https://bob:$PROJECT_GIT_PASSWORD@git.example.test/'"
        python -c 'import os, urllib.parse as u; print(u.quote(os.environ["PROJECT_GIT_PASSWORD"], safe=""))'
        cat "$(expr "$GIT_SSH_COMMAND" : '.*IdentityFile="\\([^"]*\\)"')"
        printf %s "$PROJECT_GIT_PASSWORD" > stolen
        echo "Connection reset: $PROJECT_GIT_PASSWORD" >&2
        test "$ATTEMPT" = 2 || exit 1
        echo "CODE_COMMIT=$PROJECT_GIT_PASSWORD" > "$STEP_OUTPUTS"
    """
    project = sandbox.project(code_repo=CODE, docs_repo=DOCS)
    steal = 'echo "gone: $(cat stolen)"; exit 3'
    setup, why, status = set_up(sandbox, secret, project=project, second=give_away, third=steal)
    assert (why, status["attempt"]) == ("StepFailed", 2)
    assert status["failure"]["message"] == "step third failed with exit code 3: gone: ***"
    assert status["attempts"][0]["reason"] == "StepTransient"
    assert "Connection reset: ***" in status["attempts"][0]["message"]
    setup.wait_for_events("RetryScheduled", "Failed")
    texts = sandbox.published_texts()
    assert all(project in texts[place] for place in ("log", "resources", "events", "database"))
    quoted = quote(PASSWORD, safe="")
    encoded = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    for place, text in texts.items():
        for form in (PASSWORD, PASSWORD.replace("\\", "\\\\").replace('"', '\\"'), "$(id)", quoted, encoded):
            assert form not in text, f"{form!r} stands in the {place}"
        for line in KEY.splitlines()[1:-1]:
            assert line not in text, f"a line of the key stands in the {place}"
