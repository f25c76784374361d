"""The setup module on the local engine with real steps."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.recipes.model import Recipe
from projectsetup.setup.credentials import GitCredentials
from projectsetup.setup.steps import setup_project
from projectsetup.setup.types import (
    InfrastructureError,
    SetupOutcome,
    SetupProject,
    SetupSucceeded,
)
from tests.support.local_steps import until

SECRETS = {
    "DATABASE_URL": "postgresql://u:p@h/d",
    "KUBECONFIG": "/k",
    "GITHUB_TOKEN": "ghp",
    "SSH_AUTH_SOCK": "/agent",
    "PYTHONPATH": "/nowhere",
    "GIT_DIR": "/nowhere",
}


@pytest.fixture
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalEngine]:
    root = tmp_path_factory.mktemp("root")
    engine = LocalEngine(root, grace=1.0)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
def project() -> SetupProject:
    return SetupProject(uuid4(), "Name; $(id)", "name", "", "file:///nowhere/code.git", None)


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, str]:
    """A private key and the fingerprint of its public key, which the private file does not contain."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", key], check=True)
    printed = subprocess.run(["ssh-keygen", "-l", "-f", key], check=True, capture_output=True, text=True)
    return key.read_text(), printed.stdout.split()[1]


def recipe(*steps: Mapping[str, Any]) -> Recipe:
    written = [{"name": f"s{number}", "status": "testing", **step} for number, step in enumerate(steps)]
    return Recipe.model_validate({"name": "test", "image": "x", "steps": written})


async def set_up(
    engine: LocalEngine,
    project: SetupProject,
    recipe: Recipe,
    *,
    credentials: GitCredentials | None = None,
    lines: list[str] | None = None,
) -> SetupOutcome:
    async with engine.open(project.id, 1) as runner:
        return await setup_project(
            project,
            recipe,
            lambda _: None,
            runner=runner,
            attempt=2,
            parameters={},
            time_limit=60.0,
            operator_environment={**os.environ, **SECRETS, "HTTPS_PROXY": "http://me:pr0xypass@proxy.invalid:1"},
            credentials=credentials,
            allow_file_repos=True,
            on_line=lambda _, line: (lines if lines is not None else []).append(line),
        )


async def test_steps_see_no_secret_of_the_operator(engine: LocalEngine, project: SetupProject) -> None:
    lines: list[str] = []
    await set_up(engine, project, recipe({"run": "tr '\\0' '\\n' < /proc/self/environ"}), lines=lines)
    seen = dict(line.split("=", 1) for line in lines)
    assert not SECRETS.keys() & seen.keys()
    assert seen["PROJECT_NAME"] == "Name; $(id)"
    assert seen["CODE_REPO"] == project.code_repo
    assert seen["ATTEMPT"] == "2"
    assert seen["HOME"] == f"{seen['WORKSPACE']}/.home"
    assert seen["GIT_ALLOW_PROTOCOL"] == "https:ssh:file"
    assert seen["HTTPS_PROXY"] == "http://me:***@proxy.invalid:1"


async def test_steps_use_the_operators_python_and_uv(engine: LocalEngine, project: SetupProject) -> None:
    script = "python -c 'import projectsetup, copier'; uv --version"
    assert await set_up(engine, project, recipe({"run": script})) == SetupSucceeded()


async def test_a_step_that_takes_too_long_is_stopped(engine: LocalEngine, project: SetupProject) -> None:
    with pytest.raises(InfrastructureError, match=r"^step s0 timed out after 300ms: waiting$") as caught:
        await set_up(engine, project, recipe({"run": "echo waiting; exec sleep 100", "timeout": "300ms"}))
    assert caught.value.reason is Reason.STEP_TIMED_OUT


def secret(**values: str) -> GitCredentials:
    return GitCredentials.from_secret(
        {key.replace("__", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}
    )


async def test_only_a_step_with_credentials_sees_the_login(engine: LocalEngine, project: SetupProject) -> None:
    ask = """
    printf 'url=%s\\n\\n' "$CODE_REPO" | git credential fill > answer || echo none > answer
    grep -q '^password=hunter2hunter[2]$' answer && echo seen || echo unseen
    cat answer
    rm answer
    cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'hunter2hunter[2]' || true
    """
    remote = replace(project, code_repo="https://code.example/x.git")
    lines: list[str] = []
    steps = recipe({"run": ask}, {"run": ask, "credentials": True}, {"run": ask})
    await set_up(engine, remote, steps, credentials=secret(username="bob", password="hunter2hunter2"), lines=lines)
    assert [line for line in lines if "seen" in line] == ["unseen", "seen", "unseen"]
    assert "password=***" in lines
    assert not any("hunter2" in line for line in lines)
    assert lines.count("0") == 3


async def test_only_a_step_with_credentials_can_use_the_key(
    engine: LocalEngine, project: SetupProject, key: tuple[str, str]
) -> None:
    private, fingerprint = key
    look = """
    file=$(echo "$GIT_SSH_COMMAND" | sed -n 's/.*IdentityFile="\\([^"]*\\)".*/\\1/p')
    ssh-keygen -y -f "$file" 2>&1 | ssh-keygen -l -f - || true
    """
    lines: list[str] = []
    credentials = secret(ssh__privatekey=private, known_hosts="host ssh-ed25519 AAAA")
    await set_up(
        engine, project, recipe({"run": look}, {"run": look, "credentials": True}), credentials=credentials, lines=lines
    )
    assert [fingerprint in line for line in lines if line.strip()][-1:] == [True]
    assert sum(fingerprint in line for line in lines) == 1


async def test_a_cancelled_setup_runs_no_other_step(engine: LocalEngine, project: SetupProject, tmp_path: Path) -> None:
    ready, next_step = tmp_path / "ready", tmp_path / "next"
    steps = recipe({"run": f"touch {ready}; exec sleep 100"}, {"run": f"touch {next_step}"})
    running = asyncio.create_task(set_up(engine, project, steps))
    await until(ready.exists, "the step to run")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not next_step.exists()
