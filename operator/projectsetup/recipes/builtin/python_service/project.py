"""The project as its environment variables tell it to a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Project:
    """What the steps of this recipe need to know."""

    name: str
    slug: str
    description: str
    license: str
    code_repo: str
    docs_repo: str | None


def project_from(environment: Mapping[str, str]) -> Project:
    """Raises CommandError when a variable is missing."""
    return Project(
        name=variable(environment, "PROJECT_NAME"),
        slug=variable(environment, "PROJECT_SLUG"),
        description=environment.get("PROJECT_DESCRIPTION", ""),
        license=variable(environment, "PARAM_LICENSE"),
        code_repo=variable(environment, "CODE_REPO"),
        docs_repo=environment.get("DOCS_REPO") or None,
    )


def variable(environment: Mapping[str, str], name: str) -> str:
    """A variable that every step is given. Raises CommandError when it is not set."""
    try:
        return environment[name]
    except KeyError as exc:
        raise CommandError(f"the variable {name} is not set: run this as a step of a recipe") from exc
