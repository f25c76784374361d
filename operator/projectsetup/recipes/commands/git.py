"""git, run without a terminal, without translations, and with no configuration but that of the repository."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.pipeline import Command, Failed, run_pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLAIN = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
"""Variables of every run of git."""

_OUTPUT_BYTES = 65_536


def git_output(folder: Path, *arguments: str, environment: Mapping[str, str]) -> str:
    """What git prints, run in `folder`: 64 KiB at most. Raises Failed, TemporaryError, or CommandError for more."""
    printed = bytearray()

    def consume(piece: bytes) -> None:
        if len(printed) + len(piece) > _OUTPUT_BYTES:
            raise CommandError(f"git {arguments[0]} printed more than {_OUTPUT_BYTES} bytes")
        printed.extend(piece)

    run_pipeline(Command(["git", *arguments], environment), folder=folder, consume=consume)
    return printed.decode("utf-8", "replace").strip()


def local_git(repository: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
    """The output of a git command that only touches the workspace. Raises CommandError when it fails."""
    try:
        return git_output(repository, *arguments, environment={**os.environ, **PLAIN, **(variables or {})})
    except Failed as exc:
        raise CommandError(f"git {arguments[0]} failed: {' '.join(str(exc).split())}") from exc
