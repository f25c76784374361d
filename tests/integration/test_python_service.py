"""The built-in recipe `python-service`, run for real: what it pushes is a working service."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from projectsetup.recipes.loader import RecipeBook
from tests.support.recipe_steps import Attempt, parameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from projectsetup.recipes.model import Step

NAME = """Orders "desk" {{ 7*7 }} $(touch pwned) `touch pwned`; it's \\ ünïcode & <b> 👩\u200d👧 می\u200cشود 5\u00a0€"""
TOKEN = "a-token-that-nobody-guesses"
START_LIMIT = 30.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("python-service")
    for name in ("code.git", "docs.git"):
        git(place, "init", "--quiet", "--bare", name)
    return place


@pytest.fixture(scope="module")
def attempts(place: Path) -> tuple[Attempt, Attempt]:
    """The same project, set up twice into the same repositories; the second finds them pushed."""
    first, second = attempt(place, 1), attempt(place, 2)
    recipe = RecipeBook().get("python-service")
    first.run_all(recipe)
    umask = os.umask(0o077)
    try:
        second.run_all(recipe)
    finally:
        os.umask(umask)
    return first, second


@pytest.fixture(scope="module")
def clone(place: Path, attempts: tuple[Attempt, Attempt]) -> Path:
    """A checkout of the pushed code with its dependencies, installed by the instructions of its README."""
    git(place, "clone", "--quiet", "--branch=main", str(place / "code.git"), "clone")
    make(place / "clone", attempts[0], "install")
    return place / "clone"


def attempt(place: Path, number: int) -> Attempt:
    workspace = place / f"workspace-{number}"
    workspace.mkdir()
    variables = {
        "PROJECT_ID": "00000000-0000-0000-0000-000000000001",
        "PROJECT_NAME": NAME,
        "PROJECT_SLUG": "fastapi",
        "PROJECT_DESCRIPTION": 'What "it"\u00a0does: 👩\u200d👧 so\u00adft می\u200cشود\n\n- {{ cycler.__init__ }}',
        "CODE_REPO": f"file://{place / 'code.git'}",
        "DOCS_REPO": f"file://{place / 'docs.git'}",
        "ATTEMPT": str(number),
        **parameters(RecipeBook().get("python-service")),
    }
    return Attempt(workspace, variables)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def make(folder: Path, attempt: Attempt, *targets: str) -> None:
    environment = attempt.environment() | {"VIRTUAL_ENV": ""}
    done = subprocess.run(["make", *targets], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def files_at(repository: Path, commit: str = "main") -> set[str]:
    return set(git(repository, "ls-tree", "-r", "--name-only", commit).splitlines())


def test_the_steps_report_the_pushed_commits(place: Path, attempts: tuple[Attempt, Attempt]) -> None:
    assert attempts[0].outputs == {
        "CODE_COMMIT": git(place / "code.git", "rev-parse", "main"),
        "DOCS_COMMIT": git(place / "docs.git", "rev-parse", "main"),
    }


def test_another_attempt_makes_the_same_commits_and_pushes_nothing(attempts: tuple[Attempt, Attempt]) -> None:
    first, second = attempts
    assert second.outputs == first.outputs
    assert second.printed[-1].count("already has") == 2


def test_there_is_one_commit_named_after_the_project(place: Path, attempts: tuple[Attempt, Attempt]) -> None:
    for name in ("code.git", "docs.git"):
        assert git(place / name, "log", "--format=%B", "main") == f"Set up {NAME}"
        assert set(git(place / name, "ls-tree", "-r", "--format=%(objectmode)", "main").splitlines()) == {"100644"}
    assert attempts[0].outputs


def test_the_content_of_the_repositories(place: Path, attempts: tuple[Attempt, Attempt]) -> None:
    code = files_at(place / "code.git", attempts[0].outputs["CODE_COMMIT"])
    assert code >= {"pyproject.toml", "README.md", "LICENSE", "Dockerfile", "src/service/security.py"}
    assert not [path for path in code if path.startswith((".venv", ".mypy", ".ruff")) or "__pycache__" in path]
    docs = files_at(place / "docs.git", attempts[0].outputs["DOCS_COMMIT"])
    assert docs == {"README.md", "index.md", "api.md", "authentication.md", "operations.md"}


def test_the_name_is_never_executed(place: Path, attempts: tuple[Attempt, Attempt]) -> None:
    assert len(attempts[0].printed) == 7
    assert not list(place.rglob("pwned"))


def test_the_pushed_project_passes_its_own_checks_and_tests(clone: Path, attempts: tuple[Attempt, Attempt]) -> None:
    make(clone, attempts[0], "check", "test")
    tests = subprocess.run(
        [clone / ".venv/bin/pytest", "--collect-only", "-q"], cwd=clone, capture_output=True, text=True, check=True
    ).stdout
    for name in ("test_without_a_token", "test_with_a_wrong_token", "test_with_the_right_token"):
        assert name in tests


@pytest.fixture
def service(clone: Path) -> Iterator[str]:
    """The URL of the pushed service, running; it must end by itself, and well, on SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"SERVICE_API_TOKEN": TOKEN, "SERVICE_PORT": str(port)}
    process = subprocess.Popen([clone / ".venv/bin/python", "-m", "service"], cwd=clone, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url)
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_LIMIT) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


def wait_until_healthy(url: str) -> None:
    until = time.monotonic() + START_LIMIT
    while time.monotonic() < until:
        try:
            if call(f"{url}/health")[0] == 200:
                return
        except urllib.error.URLError:
            time.sleep(0.05)
    pytest.fail(f"{url}/health did not answer within {START_LIMIT} s")


def call(url: str, token: str | None = None, body: object = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  # our own service
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=START_LIMIT) as response:  # noqa: S310  # our own service
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers.get("WWW-Authenticate", "")


def test_the_pushed_service_answers_and_authenticates(service: str, place: Path) -> None:
    assert call(f"{service}/items") == (401, "Bearer")
    assert call(f"{service}/items", "wrong") == (401, "Bearer")
    assert call(f"{service}/items", TOKEN) == (200, "[]")
    assert call(f"{service}/items", TOKEN, {"name": "first"})[0] == 201
    described = json.loads(call(f"{service}/openapi.json")[1])
    assert described["info"]["title"] == NAME
    api = git(place / "docs.git", "show", "main:api.md")
    routes = {f"`{method.upper()} {path}`" for path, methods in described["paths"].items() for method in methods}
    assert len(routes) == 5
    assert all(route in api for route in routes)


def test_the_service_does_not_start_without_a_token(clone: Path) -> None:
    done = subprocess.run(
        [clone / ".venv/bin/python", "-m", "service"], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "SERVICE_API_TOKEN: Field required\n"


def prepared_installation(place: Path, number: int, **variables: str) -> tuple[Attempt, Step]:
    """An attempt whose code holds one requirement, and the step that is to install it."""
    made = attempt(place, number)
    made.variables = {**made.variables, **variables}
    (made.workspace / "code").mkdir()
    (made.workspace / "code" / "requirements-dev.lock").write_text(f"absent==1 --hash=sha256:{'0' * 64}\n")
    (install,) = [step for step in RecipeBook().get("python-service").steps if step.name == "install"]
    return made, install


def is_retryable(step: Step, printed: str) -> bool:
    return any(re.search(pattern, line) for pattern in step.retry.output for line in printed.splitlines())


def test_an_unreachable_index_is_retryable(place: Path, tmp_path: Path) -> None:
    index = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_CACHE_DIR": str(tmp_path), "UV_HTTP_RETRIES": "1"}
    made, install = prepared_installation(place, 3, **index)
    assert made.run(install) == 1
    assert is_retryable(install, made.printed[-1])


def test_a_permanent_installation_failure_is_one_line(place: Path, tmp_path: Path) -> None:
    made, install = prepared_installation(place, 4, UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path))
    assert made.run(install) == 1
    assert made.printed[-1].splitlines()[-1].startswith("install: uv pip: ")
    assert "Traceback" not in made.printed[-1]
    assert not is_retryable(install, made.printed[-1])
