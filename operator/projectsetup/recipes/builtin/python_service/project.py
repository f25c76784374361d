"""The project, read from the environment variables of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.recipes.builtin.python_service.steps import DEFAULT_AUTHOR
from projectsetup.recipes.commands.errors import required_variable
from projectsetup.recipes.commands.push import DEFAULT_BRANCH

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Project:
    """The values that the steps of this recipe use."""

    name: str
    slug: str
    description: str
    license: str
    code_repo: str
    docs_repo: str | None
    branch: str = DEFAULT_BRANCH
    author_name: str = DEFAULT_AUTHOR.name
    author_email: str = DEFAULT_AUTHOR.email


def project_from(environment: Mapping[str, str]) -> Project:
    """Raises CommandError if a variable is missing or empty; copies of the recipe may lack the newer parameters."""
    return Project(
        name=required_variable(environment, "PROJECT_NAME"),
        slug=required_variable(environment, "PROJECT_SLUG"),
        description=environment.get("PROJECT_DESCRIPTION", ""),
        license=required_variable(environment, "PARAM_LICENSE"),
        code_repo=required_variable(environment, "CODE_REPO"),
        docs_repo=environment.get("DOCS_REPO") or None,
        branch=environment.get("PARAM_BRANCH", DEFAULT_BRANCH),
        author_name=environment.get("PARAM_AUTHOR_NAME", DEFAULT_AUTHOR.name),
        author_email=environment.get("PARAM_AUTHOR_EMAIL", DEFAULT_AUTHOR.email),
    )
