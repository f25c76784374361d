"""One version everywhere, hooks that run what `make lint` runs, a package that is licensed and typed."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Final

import pytest
import yaml

from projectsetup.version import version
from tests.support.manifests import ROOT

NAMES_OF_A_VERSION: Final = re.compile(
    r"codemyspec/projectsetup(?:-toolchain(?:-[a-z]+)?)?:([\w.]+)|targetRevision: v([\w.]+)|^\s+tag: v([\w.]+)"
    r"|projectsetup-(\d+\.\d+\.\d+)",
    re.MULTILINE,
)


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def test_the_build_takes_the_version_from_the_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "operator/projectsetup/version.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version())


@pytest.mark.parametrize("file", tracked("*.md", "manifests/*.yaml", "operator/projectsetup/recipes/builtin/*.yaml"))
def test_files_that_name_the_version_name_the_current_one(file: str) -> None:
    named = NAMES_OF_A_VERSION.findall((ROOT / file).read_text())
    assert {"".join(groups) for groups in named} <= {version()}


def test_the_hooks_run_what_make_lint_runs() -> None:
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    linters = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == linters
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in local["hooks"])
