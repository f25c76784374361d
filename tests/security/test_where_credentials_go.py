"""Credentials go to the project's own git hosts and nowhere else.

The first attacker may write the URL of a project's repository (a row in `projects`), and does not know the Secret of
the ProjectSetup. The second runs a git host that is listed and trusted with the password, and redirects to a host of
another. Both want the password, or have the operator connect to what only the cluster can reach.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final

import pytest

from tests.support.api_server import Body
from tests.support.git_host import https_server
from tests.support.operator_sandbox import NO_BACKOFF, NewSandbox, Sandbox, message
from tests.support.setup_handle import Setup

USERNAME, PASSWORD = "bob", "the-password-of-the-good-host"
TOKEN: Final = "ghp_0123456789abcdefABCDEF0123456789abcd"
PUSH: Final = (
    "git init -q -b main . && git -c user.name=a -c user.email=a@example.test commit -q --allow-empty -m first\n"
    'git push -q "$CODE_REPO" main'
)


@dataclass
class Listener:
    """An https server that asks everybody for a password, and notes what it is sent."""

    folder: Path
    port: int = 0
    redirect_to: str | None = None
    """Where it redirects clients that sent a password."""
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and `Authorization` of each request."""

    def url(self, name: str) -> str:
        return f"https://localhost:{self.port}/{name}.git"

    @property
    def passwords(self) -> list[str]:
        return [authorization for _, authorization in self.seen if authorization is not None]


def handler(listener: Listener) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization")
            listener.seen.append((self.path, authorization))
            if authorization and listener.redirect_to:
                self.send_response(302)
                self.send_header("Location", listener.redirect_to + self.path.partition(".git")[2])
            else:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    return Handler


@contextmanager
def served(folder: Path) -> Iterator[Listener]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and a git host needs a certificate")
    folder.mkdir()
    listener = Listener(folder)
    with https_server(folder, handler(listener)) as listener.port:
        yield listener


@dataclass(frozen=True, slots=True)
class Scene:
    """A good host and a thief's; operators with the environment `trusting` trust the certificates of both."""

    good: Listener
    thief: Listener
    trusting: dict[str, str]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("hosts")
    with served(folder / "good") as good, served(folder / "thief") as thief:
        bundle = folder / "certificates.pem"
        bundle.write_text("".join((one.folder / "certificate.pem").read_text() for one in (good, thief)))
        yield Scene(good, thief, {"GIT_SSL_CAINFO": str(bundle)})


@pytest.fixture
def scene(hosts: Scene) -> Scene:
    """The hosts, which have not been asked anything yet."""
    for listener in (hosts.good, hosts.thief):
        listener.seen.clear()
        listener.redirect_to = None
    return hosts


@pytest.fixture(scope="module")
def listing(hosts: Scene, new_sandbox: NewSandbox) -> Iterator[Callable[[str], Sandbox]]:
    """Operators, one for each engine, that list the host name of both hosts."""
    with ExitStack() as stack:

        @cache
        def listing(engine: str) -> Sandbox:
            sandbox: Sandbox = stack.enter_context(
                new_sandbox(environment=hosts.trusting, git_hosts="localhost", engine=engine)
            )
            sandbox.operator.start()
            return sandbox

        yield listing


def set_up(sandbox: Sandbox, url: str, **secret: str) -> tuple[str, Body]:
    """Reason and status of a setup whose row with this repository was written past all checks."""
    spec = {"credentialsSecretRef": sandbox.secret(**secret)}
    project = sandbox.project(code_repo=url)
    return Setup.make(sandbox, "scripts", project=project, annotations=NO_BACKOFF, spec=spec, second=PUSH).ended()


ENGINES = pytest.mark.parametrize("engine", ["local", "job"])


@ENGINES
def test_pointing_the_repository_at_another_host_does_not_reveal_the_password(
    scene: Scene, listing: Callable[[str], Sandbox], engine: str
) -> None:
    sandbox, thief, good = listing(engine), scene.thief, scene.good
    allowed = f"git.example.com localhost:{good.port}"
    why, status = set_up(sandbox, thief.url("one"), username=USERNAME, password=PASSWORD, host=allowed)
    assert (why, status["attempt"]) == ("InvalidSpec", 0)
    assert message(status) == f"the credentials Secret does not name localhost:{thief.port} in its key `host`"
    assert thief.seen == []
    assert not sandbox.api.kubectl("get", "jobs", "-o", "name")
    if engine == "local":
        set_up(sandbox, good.url("one"), username=USERNAME, password=PASSWORD, host=allowed)
        assert good.passwords


def test_a_redirect_does_not_reveal_the_password(scene: Scene, listing: Callable[[str], Sandbox]) -> None:
    scene.good.redirect_to = scene.thief.url("stolen")
    why, _ = set_up(listing("local"), scene.good.url("redirected"), username=USERNAME, password=PASSWORD)
    assert why == "StepFailed"
    assert scene.good.passwords, "the host that may know the password was not asked"
    assert scene.thief.seen, "git did not follow the redirect: this test proves nothing"
    assert scene.thief.passwords == []


@ENGINES
def test_a_token_in_a_url_is_never_shown_or_mounted(
    scene: Scene, listing: Callable[[str], Sandbox], engine: str
) -> None:
    sandbox = listing(engine)
    url = scene.thief.url("token").replace("https://", f"https://{TOKEN}@")
    why, status = set_up(sandbox, url, username=USERNAME, password=PASSWORD)
    assert (why, status["attempt"]) == ("InvalidSpec", 0)
    assert "must not contain a token as its user name; use the credentials Secret" in message(status)
    shown = sandbox.published_texts() | {"jobs": sandbox.api.kubectl("get", "jobs", "-o", "json")}
    assert shown.pop("database").count(TOKEN) == 1, "the row itself is as it was written"
    assert not [place for place, text in shown.items() if TOKEN in text]
    assert scene.thief.seen == []


@ENGINES
def test_nothing_is_sent_to_internal_or_unlisted_hosts(new_sandbox: NewSandbox, scene: Scene, engine: str) -> None:
    login = {"username": USERNAME, "password": PASSWORD}
    in_a_pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    with new_sandbox(environment=scene.trusting | in_a_pod, engine=engine) as sandbox:
        sandbox.operator.start()
        for name in ("localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"):
            why, status = set_up(sandbox, scene.thief.url("app").replace("localhost", name), **login)
            assert (why, status["attempt"]) == ("InvalidSpec", 0)
            assert "is an internal address" in message(status)
        sandbox.operator.terminate()
        sandbox.operator.configure(git_hosts="git.example.com")
        sandbox.operator.start()
        why, status = set_up(sandbox, scene.thief.url("other"), **login)
        assert (why, status["attempt"]) == ("InvalidSpec", 0)
        assert "is not one of the hosts in PROJECTSETUP_GIT_HOSTS" in message(status)
        assert not sandbox.api.kubectl("get", "jobs", "-o", "name")
    assert scene.thief.seen == []
