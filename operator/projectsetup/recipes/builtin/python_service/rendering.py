"""From the template to the files of one project."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from copier import run_copy

if TYPE_CHECKING:
    from projectsetup.recipes.builtin.python_service.project import Project

TEMPLATE = Path(__file__).parent / "template"
DEV_LOCK = TEMPLATE / "workspace" / "code" / "requirements-dev.lock"


def render(project: Project, workspace: Path, *, token_auth: bool) -> None:
    """Writes `code/` and `docs/`; with `token_auth`, files written without it are brought up to date."""
    run_copy(
        str(TEMPLATE),
        workspace,
        data={
            "name": project.name,
            "description": project.description,
            "distribution": distribution_name(project.slug),
            "license": project.license,
            "token_auth": token_auth,
        },
        defaults=True,
        overwrite=True,
        quiet=True,
        unsafe=True,  # the template is ours: it brings an extension of its own
    )


def distribution_name(slug: str) -> str:
    """The slug, unless one of the service's dependencies has that name: the service would take its place."""
    taken = set(re.findall(r"^([a-z0-9.-]+)==", DEV_LOCK.read_text(), re.MULTILINE))
    return f"{slug}-service" if slug in taken else slug
