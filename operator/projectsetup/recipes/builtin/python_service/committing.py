"""One commit whose id depends on nothing but the files and the name of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectsetup.recipes.builtin.python_service.git import local_git

if TYPE_CHECKING:
    from pathlib import Path

BRANCH = "main"

_AUTHOR = "Project Setup"
_EMAIL = "projectsetup@codemyspec.com"
_DATE = "2025-01-01T00:00:00+00:00"
_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", _AUTHOR), ("EMAIL", _EMAIL), ("DATE", _DATE))
}
_NO_OTHER_SETTINGS = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
_SETTINGS = {"core.autocrlf": "false", "core.fileMode": "false", "core.hooksPath": "/dev/null"}


def commit_all(repository: Path, message: str) -> str:
    """Makes the folder a repository with one commit of all that is not ignored, on `main`; returns the commit id."""
    variables = {**_NO_OTHER_SETTINGS, **_IDENTITY}
    local_git(
        repository,
        "init",
        "--quiet",
        "--template=",
        "--object-format=sha1",
        f"--initial-branch={BRANCH}",
        variables=variables,
    )
    for name, value in _SETTINGS.items():
        local_git(repository, "config", name, value, variables=variables)
    local_git(repository, "add", "--all", variables=variables)
    local_git(repository, "commit", "--quiet", "--cleanup=verbatim", "--message", message, variables=variables)
    return commit_of(repository)


def commit_of(repository: Path) -> str:
    """The id of the commit that `main` is at."""
    return local_git(repository, "rev-parse", "--verify", f"refs/heads/{BRANCH}")
