"""`projectsetup-push`: hands the commits of `code` and `docs` to the project's repositories, once.

Both are copied into repositories of our own first, outside the workspace, so that nothing that steps have written there
is run, or read as a setting, while the credentials are at hand.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.errors import TEMPORARY, CommandError, required_variable
from projectsetup.recipes.commands.remote import Remote, RemoteState
from projectsetup.recipes.commands.repositories import FreshRepository, UntrustedRepository

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_BRANCH = "main"

BRANCH = re.compile(
    r"(?!.*(?:\.\.|\.lock(?:/|$)|\.$))(?!HEAD$)(?=.{1,200}$)[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*"
)
"""The names of branches that are pushed; built-in recipes have it as the pattern of their parameter `branch`."""

_FOLDERS = {"CODE": ("code", "code repository"), "DOCS": ("docs", "documentation repository")}


def push_all(environment: Mapping[str, str], branch: str = DEFAULT_BRANCH) -> None:
    """Look at every repository before pushing to any, and tell each commit that arrived in `$STEP_OUTPUTS`.

    Raises CommandError when a repository holds other history or refuses, TemporaryError when one is out of reach.
    """
    workspace, outputs = (
        Path(required_variable(environment, "WORKSPACE")),
        Path(required_variable(environment, "STEP_OUTPUTS")),
    )
    urls = {"CODE": required_variable(environment, "CODE_REPO"), "DOCS": environment.get("DOCS_REPO", "")}
    with tempfile.TemporaryDirectory(prefix="push-") as place:
        remotes = dict(_remotes({key: url for key, url in urls.items() if url}, workspace, Path(place), branch))
        states = {key: remote.look() for key, remote in remotes.items()}
        for key, remote in remotes.items():
            if states[key] is RemoteState.PUSHED:
                print(f"{remote.title}: already holds {remote.commit}")
            else:
                remote.push()
                print(f"{remote.title}: pushed {remote.commit}")
            with outputs.open("a") as file:
                file.write(f"{key}_COMMIT={remote.commit}\n")
    if "DOCS" not in remotes:
        print("the project has no documentation repository: nothing to push there")


def _remotes(urls: Mapping[str, str], workspace: Path, place: Path, branch: str) -> Iterable[tuple[str, Remote]]:
    for key, url in urls.items():
        folder, title = _FOLDERS[key]
        fresh = FreshRepository(place / folder, UntrustedRepository(workspace, folder), branch)
        yield key, Remote(title, fresh, url)


def _branch(text: str) -> str:
    if not BRANCH.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a branch")
    return text


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, 1 when a person is needed, 75 when another attempt may succeed, 2 for bad usage."""
    parser = argparse.ArgumentParser(
        prog="projectsetup-push",
        description="Push the folders code and docs of the workspace to the project's repositories, never by force.",
    )
    parser.add_argument(
        "--branch", type=_branch, default=DEFAULT_BRANCH, metavar="NAME", help="the branch to push (default: main)"
    )
    branch = parser.parse_args(arguments).branch
    try:
        push_all(os.environ, branch)
    except CommandError as exc:
        print(f"push: {exc}", file=sys.stderr)
        return exc.exit_code
    except OSError as exc:  # the machine: no space, no memory, no such program
        print(f"push: {exc}", file=sys.stderr)
        return TEMPORARY
    return 0


if __name__ == "__main__":
    sys.exit(main())
