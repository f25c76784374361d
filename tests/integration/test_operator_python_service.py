"""The built-in recipe run by the operator: every status in order, and the pushed commits in `.status`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.operator_sandbox import Sandbox, message
from tests.support.recipe_steps import uv_cache
from tests.support.setup_handle import Setup

NAME = """Desk "orders" {{ 7*7 }} $(touch pwned) `touch pwned`; it's \\ ünïcode & <b>"""
IN_ORDER = ("initializing", "deps_installing", "setting_up_auth", "compiling", "testing", "committing", "ready")
LIMIT = 300.0


def run(folder: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "UV_CACHE_DIR": uv_cache()}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_the_built_in_recipe_through_the_operator(sandbox: Sandbox, tmp_path: Path) -> None:
    repositories = {name: tmp_path / f"{name}.git" for name in ("code", "docs")}
    for repository in repositories.values():
        run(tmp_path, "git", "init", "--quiet", "--bare", str(repository))
    urls = {f"{name}_repo": f"file://{repository}" for name, repository in repositories.items()}
    setup = Setup.make(sandbox, "python-service", project=sandbox.project(name=NAME, **urls), license="Apache-2.0")
    reason, status = setup.ended(limit=LIMIT)
    assert reason == "SetupSucceeded", message(status)
    assert (status["attempt"], status["progress"]) == (1, "7/7")
    positions = [IN_ORDER.index(version["status"]["projectStatus"]) for version in setup.changes()]
    assert positions == sorted(positions)
    assert status["commits"] == {
        f"{name}Repo": run(repository, "git", "rev-parse", "main") for name, repository in repositories.items()
    }
    for repository in repositories.values():
        assert run(repository, "git", "log", "--format=%B", "main") == f"Set up {NAME}"
    assert not list(tmp_path.rglob("pwned*"))
