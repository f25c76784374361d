"""`projectsetup-push`: pushes the commits of `code` and `docs` to the project's repositories, idempotently.

Both are first copied into fresh repositories outside the workspace, so that nothing that earlier steps wrote is
executed, or read as configuration, while the credentials are available.
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

BRANCH = re.compile(r"[A-Za-z0-9](?:\.?[A-Za-z0-9_-])*(?:\.?/[A-Za-z0-9](?:\.?[A-Za-z0-9_-])*)*")
"""What RE2 can say of branch names; the built-in recipes use this pattern for their parameter `branch`."""

_LONGEST_BRANCH = 200

_FOLDERS = {"CODE": ("code", "code repository"), "DOCS": ("docs", "documentation repository")}


def push_all(environment: Mapping[str, str], branch: str = DEFAULT_BRANCH) -> None:
    """Check every remote before pushing to any, and write the pushed commits to `$STEP_OUTPUTS`.

    Raises CommandError if a remote has other history or refuses, TemporaryError if one is unreachable.
    """
    workspace, outputs = (
        Path(required_variable(environment, "WORKSPACE")),
        Path(required_variable(environment, "STEP_OUTPUTS")),
    )
    urls = {"CODE": required_variable(environment, "CODE_REPO"), "DOCS": environment.get("DOCS_REPO", "")}
    with tempfile.TemporaryDirectory(prefix="push-") as place:
        remotes = dict(_remotes({key: url for key, url in urls.items() if url}, workspace, Path(place), branch))
        states = {key: remote.state() for key, remote in remotes.items()}
        for key, remote in remotes.items():
            if states[key] is RemoteState.PUSHED:
                print(f"{remote.title}: already has {remote.commit}")
            else:
                remote.push()
                print(f"{remote.title}: pushed {remote.commit}")
            with outputs.open("a") as file:
                file.write(f"{key}_COMMIT={remote.commit}\n")
    if "DOCS" not in remotes:
        print("documentation repository: none, nothing to push")


def _remotes(urls: Mapping[str, str], workspace: Path, place: Path, branch: str) -> Iterable[tuple[str, Remote]]:
    for key, url in urls.items():
        folder, title = _FOLDERS[key]
        fresh = FreshRepository(place / folder, UntrustedRepository(workspace, folder), branch)
        yield key, Remote(title, fresh, url)


def check_branch(name: str) -> str:
    """Return the name if git and its hosts accept it as that of a branch. Raises CommandError."""
    parts = name.split("/")
    if not BRANCH.fullmatch(name) or name == "HEAD" or any(part.endswith(".lock") for part in parts):
        raise CommandError(f"{name!r} is not a valid branch name")
    if len(name) > _LONGEST_BRANCH:
        raise CommandError(f"a branch name has at most {_LONGEST_BRANCH} characters, not {len(name)}")
    return name


def _branch(text: str) -> str:
    try:
        return check_branch(text)
    except CommandError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, 1 on failure, 75 if another attempt may succeed, 2 for bad usage."""
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
    except OSError as exc:  # a fault of the machine: no disk space, no memory, no such program
        print(f"push: {exc}", file=sys.stderr)
        return TEMPORARY
    return 0


if __name__ == "__main__":
    sys.exit(main())
