"""Installing and committing the generated project."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.processes import local_git
from projectsetup.recipes.commands.push import DEFAULT_BRANCH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DATE = "2025-01-01T00:00:00+00:00"
_SETTINGS = {"core.autocrlf": "false", "core.fileMode": "false", "core.hooksPath": "/dev/null"}


@dataclass(frozen=True, slots=True)
class Author:
    """Author and committer of a commit."""

    name: str = "Project Setup"
    email: str = "projectsetup@codemyspec.com"

    @property
    def variables(self) -> dict[str, str]:
        """Variables for git, with a fixed date."""
        values = {"NAME": self.name, "EMAIL": self.email, "DATE": _DATE}
        return {f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in values.items()}


DEFAULT_AUTHOR = Author()


def commit_all(repository: Path, message: str, branch: str = DEFAULT_BRANCH, author: Author = DEFAULT_AUTHOR) -> str:
    """Make the folder a repository with one commit on `branch` of everything not ignored; returns the commit id.

    The id depends only on the files, the message, the branch and the author.
    """
    init = ("init", "--quiet", "--template=", "--object-format=sha1", f"--initial-branch={branch}")
    local_git(repository, *init, variables=author.variables)
    for name, value in _SETTINGS.items():
        local_git(repository, "config", name, value, variables=author.variables)
    local_git(repository, "add", "--all", variables=author.variables)
    local_git(repository, "commit", "--quiet", "--cleanup=verbatim", "--message", message, variables=author.variables)
    return local_git(repository, "rev-parse", "--verify", f"refs/heads/{branch}")


_PIP_AS_UV = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX"}
_LONGEST = 500
_DEFAULT_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")


def install(code: Path, environment: Mapping[str, str]) -> None:
    """Create `.venv` with this Python and the hashed requirements-dev.lock. Raises CommandError."""
    variables = uv_environment(environment)
    for arguments in (
        ["venv", "--python", sys.executable],
        ["pip", "sync", "--require-hashes", "requirements-dev.lock"],
        ["pip", "install", "--no-deps", "--editable", "."],
    ):
        _uv(arguments, code, variables)


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
