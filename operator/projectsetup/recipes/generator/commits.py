"""Commits whose ids depend only on what is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.processes import local_git
from projectsetup.recipes.commands.push import DEFAULT_BRANCH
from projectsetup.recipes.generator.project import DEFAULT_AUTHOR

if TYPE_CHECKING:
    from pathlib import Path

    from projectsetup.recipes.generator.project import Author, Project

_FOLDERS = ("code", "docs")
_DATE = "2025-01-01T00:00:00+00:00"
_SETTINGS = {"core.autocrlf": "false", "core.fileMode": "true", "core.hooksPath": "/dev/null"}
_NO_FILES = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""git's id of a tree without files."""


def commit_project(project: Project, workspace: Path) -> None:
    """Commit `code` and `docs` in the name of the project's author. Raises CommandError.

    A project without a documentation repository needs no `docs`.
    """
    for title in _FOLDERS:
        if not (workspace / title).is_dir():
            if title == "docs" and not project.docs_repo:
                continue
            raise CommandError(f"{title}: no such folder; create it in an earlier step")
        commit = commit_all(workspace / title, f"Set up {project.name}", project.branch, project.author)
        print(f"{title}: {commit}")


def commit_all(repository: Path, message: str, branch: str = DEFAULT_BRANCH, author: Author = DEFAULT_AUTHOR) -> str:
    """Make the folder a repository with one commit on `branch` of everything not ignored; returns the commit id.

    The id depends only on the files, the message, the branch and the author. Raises CommandError.
    """
    variables = _identity(author)
    init = ("init", "--quiet", "--template=", "--object-format=sha1", f"--initial-branch={branch}")
    local_git(repository, *init, variables=variables)
    for name, value in _SETTINGS.items():
        local_git(repository, "config", name, value, variables=variables)
    local_git(repository, "add", "--all", variables=variables)
    if local_git(repository, "write-tree") == _NO_FILES:
        raise CommandError(f"{repository.name}: there is nothing to commit: no file, or .gitignore names all of them")
    local_git(repository, "commit", "--quiet", "--cleanup=verbatim", "--message", message, variables=variables)
    return local_git(repository, "rev-parse", "--verify", f"refs/heads/{branch}")


def _identity(author: Author) -> dict[str, str]:
    """Variables for git, with a fixed date."""
    values = {"NAME": author.name, "EMAIL": author.email, "DATE": _DATE}
    return {f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in values.items()}
