"""The built-in recipes, run for real: what they push are working services."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from projectsetup.recipes.model import Step
from tests.support.builtin_service import LIMIT, NAME, BuiltinService, git
from tests.support.recipe_steps import Attempt

TOKEN: Final = "a-token-that-nobody-guesses"

PROGRAMS: Final = {
    "python-service": (".venv/bin/python", "-m", "service"),
    "node-service": ("node", "dist/src/main.js"),
    "go-service": ("bin/service",),
}
CI: Final = {".github/workflows/ci.yml", ".gitlab-ci.yml"}
CODE: Final = {"README.md", "LICENSE", "Dockerfile", ".dockerignore", *CI}
CODE_OF: Final = {
    "python-service": CODE | {"pyproject.toml", "requirements.lock", "src/service/security.py"},
    "node-service": CODE | {"package.json", "package-lock.json", "src/security.ts"},
    "go-service": CODE | {"go.mod", "internal/service/security.go"},
}
GENERATED: Final = re.compile(r"(^|/)(\.venv|\.mypy_cache|\.ruff_cache|__pycache__|node_modules|dist|bin)/")
TESTS_OF_TOKENS: Final = {
    "python-service": r"test_security\.py \.+",
    "node-service": r"with a wrong one(?s:.*)every route of items is guarded(?s:.*)fail 0",
    "go-service": r"ok\s+\S+/internal/service",
}


@pytest.fixture(scope="module", params=sorted(PROGRAMS))
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BuiltinService:
    name = request.param
    return BuiltinService(name, PROGRAMS[name], tmp_path_factory.mktemp(name) / "place")


def test_two_attempts_make_and_report_the_same_commits(service: BuiltinService) -> None:
    first, second = service.attempts
    assert first.outputs == {
        "CODE_COMMIT": git(service.place / "code.git", "rev-parse", "main"),
        "DOCS_COMMIT": git(service.place / "docs.git", "rev-parse", "main"),
    }
    assert second.outputs == first.outputs
    assert second.printed[-1].count("already has") == 2


def test_the_name_is_in_the_commits_and_never_executed(service: BuiltinService) -> None:
    assert len(service.attempts[0].printed) == 7
    for name in ("code.git", "docs.git"):
        assert git(service.place / name, "log", "--format=%B", "main") == f"Set up {NAME}"
        modes = git(service.place / name, "ls-tree", "-r", "--format=%(objectmode)", "main")
        assert set(modes.splitlines()) == {"100644"}
    assert not list(service.place.rglob("pwned"))


def test_the_content_of_the_repositories(service: BuiltinService) -> None:
    outputs = service.attempts[0].outputs
    code = files_at(service.place / "code.git", outputs["CODE_COMMIT"])
    assert code >= CODE_OF[service.name]
    assert not [path for path in code if GENERATED.search(path)]
    docs = files_at(service.place / "docs.git", outputs["DOCS_COMMIT"])
    assert docs == {"README.md", "index.md", "api.md", "authentication.md", "operations.md"}


def files_at(repository: Path, commit: str) -> set[str]:
    return set(git(repository, "ls-tree", "-r", "--name-only", commit).splitlines())


def test_the_commands_of_the_readme_work_in_a_clone_and_change_nothing(service: BuiltinService) -> None:
    assert git(service.clone, "status", "--porcelain") == ""
    assert re.search(TESTS_OF_TOKENS[service.name], service.checked), service.checked


def test_the_pushed_service_answers_and_authenticates(service: BuiltinService) -> None:
    with service.running(TOKEN) as url:
        assert call(f"{url}/items") == (401, "Bearer")
        assert call(f"{url}/items", "wrong") == (401, "Bearer")
        assert json.loads(call(f"{url}/items", TOKEN)[1]) == []
        status, text = call(f"{url}/items", TOKEN, {"name": "first"})
        assert status == 201
        assert call(f"{url}/items/{json.loads(text)['id']}", TOKEN)[0] == 200
        health = json.loads(call(f"{url}/health")[1])
        assert health["status"] == "ok"
        if service.name == "python-service":
            described = json.loads(call(f"{url}/openapi.json")[1])
            assert described["info"]["title"] == NAME
            api = git(service.place / "docs.git", "show", "main:api.md")
            routes = {f"`{method.upper()} {path}`" for path, found in described["paths"].items() for method in found}
            assert len(routes) == 5
            assert all(route in api for route in routes)
        else:
            assert health["name"] == NAME


def call(url: str, token: str | None = None, body: object = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  # our own service
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as response:  # noqa: S310  # our own service
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers.get("WWW-Authenticate", "")


@pytest.mark.parametrize(
    ("environment", "line"),
    [({}, "SERVICE_API_TOKEN"), ({"SERVICE_API_TOKEN": TOKEN, "SERVICE_PORT": "http"}, "SERVICE_PORT")],
)
def test_a_wrong_setting_ends_the_start_with_one_line(
    service: BuiltinService, environment: Mapping[str, str], line: str
) -> None:
    command, folder = service.start_command(), service.clone
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(rf"{line}\b.*\n", done.stderr), done.stderr


UNREACHABLE: Final = {
    "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
    "UV_HTTP_RETRIES": "1",
    "npm_config_registry": "http://127.0.0.1:9",
    "npm_config_fetch_retries": "0",
    "GOPROXY": "http://127.0.0.1:9",
    "GOFLAGS": "-mod=mod",
    "GONOSUMDB": "*",
}
UNAVAILABLE: Final = {"UV_OFFLINE": "1", "npm_config_offline": "true", "GOPROXY": "off", "GOFLAGS": "-mod=mod"}


def prepared_installation(
    service: BuiltinService, number: int, cache: Path, variables: Mapping[str, str]
) -> tuple[Attempt, Step]:
    """An attempt whose code has one dependency that no cache has, and the step that is to install it."""
    made = service.attempt(number)
    empty = dict.fromkeys(("UV_CACHE_DIR", "npm_config_cache", "GOMODCACHE"), str(cache))
    made.variables = {**made.variables, **empty, **variables}
    code = made.workspace / "code"
    code.mkdir()
    (code / "requirements-dev.lock").write_text(f"absent==1 --hash=sha256:{'0' * 64}\n")
    (code / "go.mod").write_text("module example.com/x\n\ngo 1.24\n\nrequire example.com/absent v1.0.0\n")
    root = {"name": "x", "version": "1.0.0", "dependencies": {"absent": "1.0.0"}}
    absent = {"version": "1.0.0", "integrity": f"sha512-{'A' * 86}=="}
    lock = {**root, "lockfileVersion": 3, "packages": {"": root, "node_modules/absent": absent}}
    (code / "package.json").write_text(json.dumps(root))
    (code / "package-lock.json").write_text(json.dumps(lock))
    return made, service.step("install")


def is_retryable(step: Step, printed: str) -> bool:
    return any(re.search(pattern, line) for pattern in step.retry.output for line in printed.splitlines())


def test_an_unreachable_index_is_retryable(service: BuiltinService, tmp_path: Path) -> None:
    made, install = prepared_installation(service, 3, tmp_path, UNREACHABLE)
    assert made.run(install) == 1
    assert is_retryable(install, made.printed[-1]), made.printed[-1]


def test_a_dependency_that_cannot_be_had_is_not(service: BuiltinService, tmp_path: Path) -> None:
    made, install = prepared_installation(service, 4, tmp_path, UNAVAILABLE)
    assert made.run(install) == 1
    assert not is_retryable(install, made.printed[-1]), made.printed[-1]
    if service.name == "python-service":
        assert made.printed[-1].splitlines()[-1].startswith("install: uv pip: ")
        assert "Traceback" not in made.printed[-1]
