"""Renders a template for a project."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from copier import run_copy
from copier.errors import CopierError
from jinja2 import TemplateError

from projectsetup.recipes.commands.errors import CommandError

if TYPE_CHECKING:
    from projectsetup.recipes.generator.project import Project

_LICENSES = Path(__file__).parent / "licenses"
_BUILTIN = Path(__file__).parents[1] / "builtin"


def template_folder(name: str) -> Path:
    """The template of a built-in recipe, or the folder at a path that contains a slash. Raises CommandError."""
    folder = Path(name) if "/" in name else _BUILTIN / name.replace("-", "_") / "template"
    if not (folder / "copier.yml").is_file():
        raise CommandError(f"{name!r} is not a template: it needs a file copier.yml")
    return folder


def render(template: Path, project: Project, workspace: Path, *, token_auth: bool) -> None:
    """Write `code/` and `docs/`; with `token_auth`, update files that were rendered without it.

    The template gets the parameters of the recipe by name, and `name`, `slug`, `description`, `code_repo`,
    `license_text` and `token_auth`. Raises CommandError.
    """
    try:
        _copy(template, project, workspace, token_auth=token_auth)
    except (TemplateError, CopierError) as exc:
        raise CommandError(f"{_place(exc, template)}: {' '.join(str(exc).split())}") from exc


def _copy(template: Path, project: Project, workspace: Path, *, token_auth: bool) -> None:
    run_copy(
        str(template),
        workspace,
        data={
            **project.parameters,
            "name": project.name,
            "slug": project.slug,
            "description": project.description,
            "code_repo": project.code_repo,
            "license_text": license_text(project),
            "token_auth": token_auth,
        },
        defaults=True,
        overwrite=True,
        quiet=True,
        unsafe=True,  # templates are trusted like recipes, and load the filters of this package
    )


def _place(error: Exception, template: Path) -> str:
    """The file and line of the template that the error is about, or else the template."""
    frames = traceback.extract_tb(error.__traceback__)
    at = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(template.resolve())]
    return f"{at[-1].filename}, line {at[-1].lineno}" if at else str(template)


def license_text(project: Project) -> str:
    """The text of the license in the parameter `license`; empty if there is none. Raises CommandError."""
    spdx = project.parameters.get("license")
    if not spdx:
        return ""
    file = _LICENSES / f"{spdx}.txt"
    if file.parent != _LICENSES or not file.is_file():
        raise CommandError(f"there is no text of the license {spdx!r}; there is {', '.join(known_licenses())}")
    return file.read_text().replace("NAME", project.name)


def known_licenses() -> list[str]:
    """The licenses that have a text."""
    return sorted(file.stem for file in _LICENSES.glob("*.txt"))
