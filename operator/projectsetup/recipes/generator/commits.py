"""Commits whose ids depend only on what is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectsetup.recipes.commands.processes import local_git
from projectsetup.recipes.commands.push import DEFAULT_BRANCH
from projectsetup.recipes.generator.project import DEFAULT_AUTHOR

if TYPE_CHECKING:
    from pathlib import Path

    from projectsetup.recipes.generator.project import Author, Project

_FOLDERS = ("code", "docs")
_DATE = "2025-01-01T00:00:00+00:00"
_SETTINGS = {"core.autocrlf": "false", "core.fileMode": "false", "core.hooksPath": "/dev/null"}


def commit_project(project: Project, workspace: Path) -> None:
    """Commit `code` and `docs` in the name of the project's author. Raises CommandError."""
    for title in _FOLDERS:
        commit = commit_all(workspace / title, f"Set up {project.name}", project.branch, project.author)
        print(f"{title}: {commit}")


def commit_all(repository: Path, message: str, branch: str = DEFAULT_BRANCH, author: Author = DEFAULT_AUTHOR) -> str:
    """Make the folder a repository with one commit on `branch` of everything not ignored; returns the commit id.

    The id depends only on the files, the message, the branch and the author.
    """
    variables = _identity(author)
    init = ("init", "--quiet", "--template=", "--object-format=sha1", f"--initial-branch={branch}")
    local_git(repository, *init, variables=variables)
    for name, value in _SETTINGS.items():
        local_git(repository, "config", name, value, variables=variables)
    local_git(repository, "add", "--all", variables=variables)
    local_git(repository, "commit", "--quiet", "--cleanup=verbatim", "--message", message, variables=variables)
    return local_git(repository, "rev-parse", "--verify", f"refs/heads/{branch}")


def _identity(author: Author) -> dict[str, str]:
    """Variables for git, with a fixed date."""
    values = {"NAME": author.name, "EMAIL": author.email, "DATE": _DATE}
    return {f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in values.items()}
