"""`python -I -m projectsetup.recipes.builtin.python_service COMMAND`, run by the steps of the recipe.

The recipe uses `install`. The other commands are for copies of the recipe from before the generator existed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from projectsetup.recipes.builtin.python_service.install import install
from projectsetup.recipes.commands.push import push_all
from projectsetup.recipes.generator.__main__ import auth, generate, run_command
from projectsetup.recipes.generator.commits import commit_project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from projectsetup.recipes.generator.project import Project

_TEMPLATE = "python-service"

_COMMANDS: dict[str, Callable[[Project, Path], None]] = {
    "generate": lambda project, workspace: generate(project, workspace, _TEMPLATE),
    "install": install,
    "auth": lambda project, workspace: auth(project, workspace, _TEMPLATE),
    "commit": commit_project,
    "push": lambda project, _workspace: push_all(os.environ, project.branch),
}


def main(arguments: list[str]) -> int:
    """Exit code: 0, 1 on failure, 75 if another attempt may succeed, 2 for bad usage."""
    command = _COMMANDS.get(arguments[0]) if len(arguments) == 1 else None
    if command is None:
        print(f"expected one of: {' '.join(_COMMANDS)}", file=sys.stderr)
        return 2
    return run_command(arguments[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
