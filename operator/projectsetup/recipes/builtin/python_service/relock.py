"""`python -m projectsetup.recipes.builtin.python_service.relock`: updates the dependencies of the template.

For maintainers. It needs make and a package index; commit its result.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from projectsetup.recipes.builtin.python_service.distribution import TEMPLATE
from projectsetup.recipes.generator.project import Project
from projectsetup.recipes.generator.rendering import render

SAMPLE = Project(name="Sample", slug="sample", parameters={"license": "MIT"})
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-dev.lock")


def relock(template: Path = TEMPLATE) -> None:
    """Run `make lock` in a generated project and copy its lock files to the template."""
    with TemporaryDirectory() as folder:
        workspace = Path(folder)
        render(template, SAMPLE, workspace, token_auth=True)
        subprocess.run(["make", "lock"], cwd=workspace / "code", check=True)  # noqa: S607  # found on PATH
        for name in LOCKS:
            shutil.copy(workspace / "code" / name, template / "workspace" / "code" / name)


if __name__ == "__main__":
    relock()
