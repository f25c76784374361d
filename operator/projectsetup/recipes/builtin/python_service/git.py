"""git, run without a terminal and without translations."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.recipes.builtin.python_service.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ALWAYS = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class GitResult:
    """What one run of git came to."""

    exit_code: int
    output: str
    errors: str


def run_git(repository: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> GitResult:
    """Runs git in `repository` to its end, whatever that is."""
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607  # found on PATH
        cwd=repository,
        env={**os.environ, **_ALWAYS, **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    return GitResult(done.returncode, done.stdout.strip(), done.stderr.strip())


def local_git(repository: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
    """The output of a git command that only touches the workspace. Raises CommandError when it fails."""
    result = run_git(repository, *arguments, variables=variables)
    if result.exit_code:
        raise CommandError(f"git {arguments[0]} failed: {' '.join(result.errors.split())}")
    return result.output
