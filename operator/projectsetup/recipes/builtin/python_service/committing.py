"""One commit whose id depends on nothing but the files and the name of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectsetup.recipes.commands.git import local_git

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
_SETTINGS = {"core.autocrlf": "false", "core.fileMode": "false", "core.hooksPath": "/dev/null"}


def commit_all(repository: Path, message: str) -> str:
    """Makes the folder a repository with one commit of all that is not ignored, on `main`; returns the commit id."""
    local_git(
        repository,
        "init",
        "--quiet",
        "--template=",
        "--object-format=sha1",
        f"--initial-branch={BRANCH}",
        variables=_IDENTITY,
    )
    for name, value in _SETTINGS.items():
        local_git(repository, "config", name, value, variables=_IDENTITY)
    local_git(repository, "add", "--all", variables=_IDENTITY)
    local_git(repository, "commit", "--quiet", "--cleanup=verbatim", "--message", message, variables=_IDENTITY)
    return local_git(repository, "rev-parse", "--verify", f"refs/heads/{BRANCH}")
