"""One commit whose id depends on nothing but the files, the name of the project and the parameters of the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.git import local_git
from projectsetup.recipes.commands.push import DEFAULT_BRANCH

if TYPE_CHECKING:
    from pathlib import Path

_DATE = "2025-01-01T00:00:00+00:00"
_SETTINGS = {"core.autocrlf": "false", "core.fileMode": "false", "core.hooksPath": "/dev/null"}


@dataclass(frozen=True, slots=True)
class Author:
    """Author and committer."""

    name: str = "Project Setup"
    email: str = "projectsetup@codemyspec.com"

    @property
    def variables(self) -> dict[str, str]:
        """What git reads, with a date that never changes."""
        values = {"NAME": self.name, "EMAIL": self.email, "DATE": _DATE}
        return {f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in values.items()}


DEFAULT_AUTHOR = Author()


def commit_all(repository: Path, message: str, branch: str = DEFAULT_BRANCH, author: Author = DEFAULT_AUTHOR) -> str:
    """Makes the folder a repository with one commit of all that is not ignored, on `branch`; returns the commit id."""
    init = ("init", "--quiet", "--template=", "--object-format=sha1", f"--initial-branch={branch}")
    local_git(repository, *init, variables=author.variables)
    for name, value in _SETTINGS.items():
        local_git(repository, "config", name, value, variables=author.variables)
    local_git(repository, "add", "--all", variables=author.variables)
    local_git(repository, "commit", "--quiet", "--cleanup=verbatim", "--message", message, variables=author.variables)
    return local_git(repository, "rev-parse", "--verify", f"refs/heads/{branch}")
