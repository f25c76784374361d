"""What a remote repository holds, compared with the commit that is to be its `main`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from projectsetup.recipes.builtin.python_service.committing import BRANCH, commit_of
from projectsetup.recipes.builtin.python_service.errors import CommandError
from projectsetup.recipes.builtin.python_service.git import run_git
from projectsetup.recipes.builtin.python_service.trouble import trouble_with

if TYPE_CHECKING:
    from pathlib import Path

_MAIN = f"refs/heads/{BRANCH}"
_HISTORY = ("refs/heads/", "refs/tags/")


class RemoteState(Enum):
    """What is to be done about a remote."""

    EMPTY = "push"
    PUSHED = "nothing"


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository of the workspace and where it is to be pushed."""

    title: str
    folder: Path
    url: str

    def __post_init__(self) -> None:
        if self.url.startswith("-"):
            raise CommandError(f"{self.title}: its URL begins with '-'")

    @property
    def commit(self) -> str:
        """The commit to push."""
        return commit_of(self.folder)

    def look(self) -> RemoteState:
        """Raises CommandError when it holds other history or refuses, TemporaryError when it is out of reach."""
        listed = run_git(self.folder, "ls-remote", "--quiet", "--", self.url)
        if listed.exit_code:
            raise trouble_with(self.title, listed.errors)
        return self._judge([line.split("\t", 1) for line in listed.output.splitlines()])

    def push(self) -> None:
        """Pushes, never by force. Raises like `look`."""
        pushed = run_git(self.folder, "push", "--quiet", "--", self.url, f"{_MAIN}:{_MAIN}")
        if pushed.exit_code and self.look() is not RemoteState.PUSHED:
            raise trouble_with(self.title, pushed.errors)

    def _judge(self, references: list[list[str]]) -> RemoteState:
        history = {name: commit for commit, name in references if name.startswith(_HISTORY)}
        if history.get(_MAIN) == self.commit:
            return RemoteState.PUSHED
        if history:
            name, commit = min(history.items())
            raise CommandError(
                f"{self.title}: it holds other history, which is never overwritten ({name} is at {commit[:12]})"
            )
        return RemoteState.EMPTY
