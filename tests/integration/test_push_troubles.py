"""Pushes to real servers with problems: temporary failures are retryable, permanent ones are not."""

from __future__ import annotations

import base64
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from projectsetup.setup.git import ssh_command
from tests.support.git_host import GitHandler, https_server, self_signed
from tests.support.push_workspace import CODE, PushWorkspace, git
from tests.support.ssh_host import SSHD, SshHost, new_key, ssh_host

NEEDS_A_PERSON, MAY_PASS = 1, 75
CUT = 0
Push = Callable[[str], tuple[int, str]]
"""Pushes to the repository of that name; exit code and last line."""


@pytest.fixture
def stage(tmp_path: Path) -> PushWorkspace:
    """A workspace whose code repository accepts pushes over HTTP."""
    stage = PushWorkspace(tmp_path)
    git(tmp_path / CODE, "config", "http.receivepack", "true")
    return stage


class TroubledHandler(GitHandler):
    """Answers requests of one method with a status, or by cutting the connection off in the middle of the answer."""

    expected = None
    method: ClassVar[str] = ""
    status: ClassVar[int] = CUT

    def _answer(self, body: bytes) -> None:
        if self.command != self.method:
            super()._answer(body)
            return
        self.send_response(self.status or 200)
        self.send_header("Content-Type", "application/x-git-receive-pack-result")
        self.send_header("Content-Length", "1000" if self.status == CUT else "0")
        self.end_headers()
        self.close_connection = True
        if self.status == CUT:
            with socket.socket(fileno=self.connection.detach()) as connection:
                connection.shutdown(socket.SHUT_RDWR)  # without the end that TLS has


@dataclass
class HttpsHost:
    """Serves the repositories of a stage."""

    stage: PushWorkspace
    port: int

    def push(self, repository: str = CODE, **environment: str) -> tuple[int, str]:
        """Exit code and last line."""
        trusted = {"GIT_SSL_CAINFO": str(self.stage.place / "certificate.pem"), "GIT_ALLOW_PROTOCOL": "https"}
        url = f"https://localhost:{self.port}/{repository}"
        return self.stage.push(code=url, docs="", **trusted | environment)[:2]


def _needs_openssl() -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and a git host needs a certificate")


@contextmanager
def https_host(
    stage: PushWorkspace, method: str = "", status: int = CUT, expected: str | None = None
) -> Iterator[HttpsHost]:
    _needs_openssl()
    known = {"folder": stage.place, "method": method, "status": status, "expected": expected}
    with https_server(stage.place, type("Handler", (TroubledHandler,), known)) as port:
        yield HttpsHost(stage, port)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("status", "exit_code"),
    [
        *((status, NEEDS_A_PERSON) for status in (401, 403, 404, 501)),
        *((status, MAY_PASS) for status in (429, 500, 503, CUT)),
    ],
)
def test_https(stage: PushWorkspace, method: str, status: int, exit_code: int) -> None:
    with https_host(stage, method, status) as host:
        assert host.push()[0] == exit_code, stage.printed
    assert stage.references(CODE) == ""
    with https_host(stage) as host:
        assert host.push()[0] == 0, stage.printed


def test_a_failed_login_stays_out_of_the_log(stage: PushWorkspace) -> None:
    login = base64.b64encode(b"robot:correct horse").decode()
    wrong = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader"}
    wrong["GIT_CONFIG_VALUE_0"] = f"Authorization: Basic {login}"
    with https_host(stage, expected="something else") as host:
        exit_code, line = host.push(**wrong)
    assert (exit_code, "terminal prompts disabled" in line) == (NEEDS_A_PERSON, True), stage.printed
    assert login not in stage.printed
    assert "header" not in stage.printed.lower()


def test_an_untrusted_certificate(stage: PushWorkspace) -> None:
    other = stage.place / "other"
    other.mkdir()
    self_signed(other, "localhost")
    with https_host(stage) as host:
        exit_code, line = host.push(GIT_SSL_CAINFO=str(other / "certificate.pem"))
    assert (exit_code, "certificate" in line) == (NEEDS_A_PERSON, True), stage.printed


@pytest.mark.parametrize("before_tls", [True, False])
def test_a_server_that_hangs_up(stage: PushWorkspace, *, before_tls: bool) -> None:
    _needs_openssl()

    def hang_up() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 if before_tls else 10_000)

    self_signed(stage.place, "localhost")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up, daemon=True).start()
        exit_code, _ = HttpsHost(stage, server.getsockname()[1]).push()
        server.shutdown(socket.SHUT_RDWR)
    assert exit_code == MAY_PASS, stage.printed


class Proxy(BaseHTTPRequestHandler):
    """Answers CONNECT with a status, and hangs up."""

    status: ClassVar[int] = CUT

    def do_CONNECT(self) -> None:
        self.close_connection = True
        if self.status != CUT:
            self.send_response(self.status)
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(403, NEEDS_A_PERSON), (407, NEEDS_A_PERSON), (502, MAY_PASS), (503, MAY_PASS), (200, MAY_PASS), (CUT, MAY_PASS)],
)
def test_a_proxy(stage: PushWorkspace, status: int, exit_code: int) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Proxy,), {"status": status})) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        address = {"https_proxy": f"http://127.0.0.1:{proxy.server_port}", "GIT_ALLOW_PROTOCOL": "https"}
        found = stage.push(code="https://git.example/team/app.git", docs="", **address)
        proxy.shutdown()
    assert found[0] == exit_code, stage.printed
    assert status not in {403, 407, 502, 503} or f"the proxy answered with HTTP status {status}" in found[1]


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[SshHost]:
    if why := SSHD.obstacle() or (None if shutil.which("ssh") else "ssh is not installed"):
        pytest.skip(why)
    folder = tmp_path / "ssh"
    folder.mkdir()
    with ssh_host(folder) as host:
        yield host


def push_by_ssh(stage: PushWorkspace, url: str, private: Path) -> tuple[int, str]:
    """Push with the files in `private`, as git runs under the operator."""
    return stage.push(code=url, docs="", GIT_ALLOW_PROTOCOL="ssh", GIT_SSH_COMMAND=ssh_command(private))[:2]


@pytest.fixture
def private(ssh: SshHost, tmp_path: Path) -> Path:
    return ssh.private(tmp_path / "private 100%")


def test_ssh(stage: PushWorkspace, ssh: SshHost, private: Path) -> None:
    assert push_by_ssh(stage, ssh.url(stage.place / CODE), private)[0] == 0, stage.printed
    assert stage.references(CODE) == f"{stage.commit('code')} refs/heads/main"
    assert "debug" not in stage.printed


def test_ssh_refuses_the_login(stage: PushWorkspace, ssh: SshHost, tmp_path: Path) -> None:
    url = ssh.url(stage.place / CODE)
    new_key(tmp_path / "other")
    key, other = (ssh.folder / "key").read_bytes(), (tmp_path / "other").read_bytes()
    changed = ssh.private(tmp_path / "changed", known_hosts=ssh.known_as(tmp_path / "other.pub"))
    for private, words in (
        (ssh.private(tmp_path / "refused", key=other), "Permission denied"),
        (ssh.private(tmp_path / "broken", key=key[:-60]), f'Load key "{tmp_path}/broken/key": '),
        (ssh.private(tmp_path / "unknown", known_hosts=""), "host key is known for [127.0.0.1]:"),
        (changed, "code repository: Host key for [127.0.0.1]:"),
    ):
        exit_code, line = push_by_ssh(stage, url, private)
        assert (exit_code, words in line) == (NEEDS_A_PERSON, True), stage.printed
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in stage.printed
    assert stage.references(CODE) == ""


def test_ssh_to_a_missing_repository(stage: PushWorkspace, ssh: SshHost, private: Path) -> None:
    """The server repeats its name, which reads like a retryable failure."""
    url = ssh.url(stage.place / "connection timed out, early eof.git")
    exit_code, line = push_by_ssh(stage, url, private)
    assert (exit_code, "does not appear to be a git repository" in line) == (NEEDS_A_PERSON, True), stage.printed


def test_ssh_connection_lost(stage: PushWorkspace, ssh: SshHost, private: Path) -> None:
    url = ssh.url(stage.place / CODE)
    hook = stage.put_hook(CODE, "pre-receive", 'kill -9 "$PPID"')
    assert push_by_ssh(stage, url, private)[0] == MAY_PASS, stage.printed
    hook.unlink()
    assert push_by_ssh(stage, url, private)[0] == 0, stage.printed


@pytest.mark.parametrize("listening", [True, False])
def test_ssh_to_another_service(stage: PushWorkspace, *, listening: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if listening:
            threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()  # noqa: PLW0108  # later
        else:
            server.close()
        exit_code, _ = push_by_ssh(stage, f"ssh://robot@127.0.0.1:{port}/team/app.git", stage.place)
    assert exit_code == MAY_PASS, stage.printed


@pytest.fixture(params=["file", "https", "ssh"])
def push(request: pytest.FixtureRequest, stage: PushWorkspace) -> Iterator[Push]:
    if request.param == "file":
        yield lambda name: stage.push(code=stage.url(name), docs="")[:2]
    elif request.param == "https":
        with https_host(stage) as host:
            yield host.push
    else:
        server: SshHost = request.getfixturevalue("ssh")
        private: Path = request.getfixturevalue("private")
        yield lambda name: push_by_ssh(stage, server.url(stage.place / name), private)


def test_a_hook_that_declines(stage: PushWorkspace, push: Push) -> None:
    """Its output reads like a retryable failure."""
    stage.put_hook(CODE, "pre-receive", "echo 'the connection timed out, internal server error'; exit 1")
    exit_code, line = push(CODE)
    assert (exit_code, line) == (
        NEEDS_A_PERSON,
        "push: code repository: [remote rejected] (pre-receive hook declined)",
    ), stage.printed
    said = [text for text in stage.printed.splitlines() if text.startswith("remote: ")]
    assert [text.strip() for text in said] == ["remote: the connection timed out, internal server error"]


def test_a_remote_with_a_temporary_write_failure(stage: PushWorkspace, push: Push) -> None:
    lock = stage.place / CODE / "refs" / "heads" / "main.lock"
    lock.touch()
    exit_code, line = push(CODE)
    assert (exit_code, "[remote rejected] (failed to update ref)" in line) == (MAY_PASS, True), stage.printed
    lock.unlink()
    assert push(CODE)[0] == 0, stage.printed


def test_a_remote_of_another_hash_algorithm(stage: PushWorkspace, push: Push) -> None:
    git(stage.place, "init", "--quiet", "--bare", "--object-format=sha256", "sha256.git")
    git(stage.place / "sha256.git", "config", "http.receivepack", "true")
    exit_code, line = push("sha256.git")
    assert (exit_code, "hash algorithm" in line) == (NEEDS_A_PERSON, True), stage.printed
