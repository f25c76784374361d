"""`python -I -m projectsetup.recipes.generator COMMAND`, run by the steps of recipes.

`generate TEMPLATE` renders a template, `auth TEMPLATE` renders it again with token authentication, and `commit` makes
one commit of each folder. TEMPLATE is a built-in recipe or the path of a folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.errors import TEMPORARY, CommandError
from projectsetup.recipes.generator.commits import commit_project
from projectsetup.recipes.generator.project import project_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from projectsetup.recipes.generator.project import Project


def generate(project: Project, workspace: Path, template: str) -> None:
    """Render the template without authentication. Raises CommandError."""
    _render(project, workspace, template, token_auth=False)


def auth(project: Project, workspace: Path, template: str) -> None:
    """Render the template with authentication over what `generate` wrote. Raises CommandError."""
    _render(project, workspace, template, token_auth=True)


def _render(project: Project, workspace: Path, template: str, *, token_auth: bool) -> None:
    from projectsetup.recipes.generator.rendering import render, template_folder  # noqa: PLC0415  # copier is slow

    render(template_folder(template), project, workspace, token_auth=token_auth)


_COMMANDS: dict[tuple[str, int], Callable[..., None]] = {
    ("generate", 1): generate,
    ("auth", 1): auth,
    ("commit", 0): commit_project,
}


def run_command(name: str, command: Callable[..., None], *arguments: str) -> int:
    """Run a command on the project of the environment; returns the exit code: 0, 1, or 75 if it may succeed later."""
    try:
        command(project_from(os.environ), Path.cwd(), *arguments)
    except CommandError as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return exc.exit_code
    except OSError as exc:  # a fault of the machine: no disk space, no memory, no such program
        print(f"{name}: {exc}", file=sys.stderr)
        return TEMPORARY
    return 0


def main(arguments: list[str]) -> int:
    """Exit code as of `run_command`; 2 for bad usage."""
    name, *rest = arguments or [""]
    command = _COMMANDS.get((name, len(rest)))
    if command is None:
        print("expected one of: generate TEMPLATE, auth TEMPLATE, commit", file=sys.stderr)
        return 2
    return run_command(name, command, *rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
