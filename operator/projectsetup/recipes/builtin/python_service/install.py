"""Installs the dependencies of the generated project with uv."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from projectsetup.recipes.generator.project import Project

_PIP_AS_UV = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX"}
_LONGEST = 500
_DEFAULT_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")


def install(_project: Project, workspace: Path) -> None:
    """Create `code/.venv` with this Python and the hashed requirements-dev.lock. Raises CommandError."""
    variables = uv_environment(os.environ)
    for arguments in (
        ["venv", "--python", sys.executable],
        ["pip", "sync", "--require-hashes", "requirements-dev.lock"],
        ["pip", "install", "--no-deps", "--no-build-isolation", "--editable", "."],
    ):
        _uv(arguments, workspace / "code", variables)


def uv_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv: it never downloads Python, and uses an index that is set for pip."""
    variables = {**environment, "UV_PYTHON_DOWNLOADS": "never"}
    for pip, uv in _PIP_AS_UV.items():
        if pip in environment and not any(name in environment for name in (uv, *_DEFAULT_INDEX)):
            variables[uv] = environment[pip]
    return variables


def _uv(arguments: list[str], folder: Path, variables: Mapping[str, str]) -> None:
    command = ["uv", *arguments, "--quiet"]
    done = subprocess.run(
        command, cwd=folder, env=variables, stderr=subprocess.PIPE, check=False, encoding="utf-8", errors="replace"
    )
    if done.returncode:
        print(done.stderr, end="", file=sys.stderr)
        why = " ".join(done.stderr.removeprefix("error: ").split())
        raise CommandError(f"uv {arguments[0]}: {why[:_LONGEST]}")
