"""The project, read from the environment variables of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from projectsetup.recipes.commands.errors import required_variable
from projectsetup.recipes.commands.push import DEFAULT_BRANCH, check_branch

_PARAMETER = "PARAM_"


@dataclass(frozen=True, slots=True)
class Author:
    """Author and committer of a commit."""

    name: str = "Project Setup"
    email: str = "projectsetup@codemyspec.com"


DEFAULT_AUTHOR = Author()


@dataclass(frozen=True, slots=True)
class Project:
    """What templates and commits are made of."""

    name: str
    slug: str
    description: str = ""
    code_repo: str = ""
    docs_repo: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def branch(self) -> str:
        """The branch of the commits."""
        return self.parameters.get("branch", DEFAULT_BRANCH)

    @property
    def author(self) -> Author:
        """The author of the commits."""
        return Author(
            self.parameters.get("author_name", DEFAULT_AUTHOR.name),
            self.parameters.get("author_email", DEFAULT_AUTHOR.email),
        )


def project_from(environment: Mapping[str, str]) -> Project:
    """The project of a step; its recipe may lack any parameter.

    Raises CommandError if a variable of the operator is missing or empty, or if git refuses the branch.
    """
    project = Project(
        name=required_variable(environment, "PROJECT_NAME"),
        slug=required_variable(environment, "PROJECT_SLUG"),
        description=environment.get("PROJECT_DESCRIPTION", ""),
        code_repo=required_variable(environment, "CODE_REPO"),
        docs_repo=environment.get("DOCS_REPO", ""),
        parameters={
            name.removeprefix(_PARAMETER).lower(): value
            for name, value in environment.items()
            if name.startswith(_PARAMETER)
        },
    )
    check_branch(project.branch)
    return project
