"""`python -m projectsetup.recipes.builtin.node_service.relock`: updates the dependencies of the template.

For maintainers. It needs npm and a package registry; commit its result.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from projectsetup.recipes.generator.project import Project
from projectsetup.recipes.generator.rendering import render

TEMPLATE = Path(__file__).parent / "template"
LOCK = TEMPLATE / "workspace" / "code" / "package-lock.json.jinja"
LICENSE = '"license": "{{ package_license }}"'
SAMPLE = Project(name="Sample", slug="the-name-of-a-sample", parameters={"license": "MIT"})


def relock() -> None:
    """Resolve the dependencies of a generated project and put its lock file into the template."""
    with TemporaryDirectory() as folder:
        workspace = Path(folder)
        render(TEMPLATE, SAMPLE, workspace, token_auth=True)
        code = workspace / "code"
        (code / "package-lock.json").unlink(missing_ok=True)
        subprocess.run(["npm", "install", "--package-lock-only"], cwd=code, check=True)  # noqa: S607  # found on PATH
        text = (code / "package-lock.json").read_text()
        text = text.replace(f'"{SAMPLE.slug}"', '"{{ slug }}"').replace('"license": "MIT"', LICENSE, 1)
        LOCK.write_text(text)


if __name__ == "__main__":
    relock()
