"""`python -I -m projectsetup.recipes.builtin.python_service COMMAND`, run by the steps of the recipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from projectsetup.recipes.builtin.python_service.project import Project, project_from
from projectsetup.recipes.builtin.python_service.steps import Author, commit_all, install
from projectsetup.recipes.commands.errors import TEMPORARY, CommandError
from projectsetup.recipes.commands.push import push_all

if TYPE_CHECKING:
    from collections.abc import Callable


def _generate(project: Project, workspace: Path) -> None:
    from projectsetup.recipes.builtin.python_service.rendering import render  # noqa: PLC0415  # copier is slow to import

    render(project, workspace, token_auth=False)


def _auth(project: Project, workspace: Path) -> None:
    from projectsetup.recipes.builtin.python_service.rendering import render  # noqa: PLC0415  # copier is slow to import

    render(project, workspace, token_auth=True)


def _install(_project: Project, workspace: Path) -> None:
    install(workspace / "code", os.environ)


def _commit(project: Project, workspace: Path) -> None:
    author = Author(project.author_name, project.author_email)
    for title in ("code", "docs"):
        commit = commit_all(workspace / title, f"Set up {project.name}", project.branch, author)
        print(f"{title}: {commit}")


def _push(project: Project, _workspace: Path) -> None:
    """For copies of this recipe from before projectsetup-push existed."""
    push_all(os.environ, project.branch)


_COMMANDS: dict[str, Callable[[Project, Path], None]] = {
    "generate": _generate,
    "install": _install,
    "auth": _auth,
    "commit": _commit,
    "push": _push,
}


def main(arguments: list[str]) -> int:
    """Exit code: 0, 1 on failure, 75 if another attempt may succeed, 2 for bad usage."""
    command = _COMMANDS.get(arguments[0]) if len(arguments) == 1 else None
    if command is None:
        print(f"expected one of: {' '.join(_COMMANDS)}", file=sys.stderr)
        return 2
    try:
        command(project_from(os.environ), Path.cwd())
    except CommandError as exc:
        print(f"{arguments[0]}: {exc}", file=sys.stderr)
        return exc.exit_code
    except OSError as exc:  # a fault of the machine: no disk space, no memory, no such program
        print(f"{arguments[0]}: {exc}", file=sys.stderr)
        return TEMPORARY
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
