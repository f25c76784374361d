"""A repository of our own with one branch, copied from one that others could write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from projectsetup.recipes.commands.conversation import Conversation
from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.git import PLAIN, git_output
from projectsetup.recipes.commands.pipeline import Command, Failed, run_pipeline
from projectsetup.recipes.commands.trouble import trouble_with

if TYPE_CHECKING:
    from pathlib import Path

    from projectsetup.recipes.commands.untrusted import UntrustedRepository

_KEPT = ("LD_LIBRARY_PATH", "PATH", "TMPDIR")
_NOTHING_ELSE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_NO_REPLACE_OBJECTS": "1"}

_SHA1_DIGITS = 40
_SUBMODULE = b"160000 "


class FreshRepository:
    """A bare repository that was made without templates and holds one commit with all its history, checked."""

    def __init__(self, directory: Path, source: UntrustedRepository, branch: str) -> None:
        """Make it in the new `directory`. Nothing that reads `source` is given credentials.

        Raises CommandError when `source` leads elsewhere, is incomplete, or holds broken objects or submodules.
        """
        self.directory = directory
        self.reference = f"refs/heads/{branch}"
        source.check()
        self.commit = source.tip_of(branch)
        directory.mkdir(mode=0o700)
        try:
            self._fill(source)
            self._refuse_submodules(source.title)
        except Failed as exc:
            raise trouble_with(source.title, Conversation(errors=str(exc))) from exc

    def _fill(self, source: UntrustedRepository) -> None:
        kind = "sha1" if len(self.commit) == _SHA1_DIGITS else "sha256"
        self._git("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", ".")
        objects = self.directory / "untrusted"
        source.link_objects(objects)
        reading = {**self._environment(), "GIT_OBJECT_DIRECTORY": str(objects)}
        run_pipeline(
            Command(["git", "pack-objects", "--quiet", "--revs", "--stdout"], reading),
            Command(["git", "index-pack", "--stdin", "--strict"], self._environment()),
            folder=self.directory,
            consume=lambda _: None,
            feed=f"{self.commit}\n".encode(),
        )
        self._git("rev-list", "--objects", "--quiet", self.commit)
        self._git("update-ref", self.reference, self.commit)

    def _refuse_submodules(self, title: str) -> None:
        begun = b""

        def consume(piece: bytes) -> None:
            nonlocal begun
            *entries, rest = (begun + piece).split(b"\0")
            begun = rest[: len(_SUBMODULE)]
            if any(entry.startswith(_SUBMODULE) for entry in entries):
                raise CommandError(f"{title}: it has submodules, which are not pushed from here")

        command = Command(["git", "ls-tree", "-r", "-z", "--full-tree", self.commit], self._environment())
        run_pipeline(command, folder=self.directory, consume=consume)

    def _git(self, *arguments: str) -> str:
        return git_output(self.directory, *arguments, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {**kept, **PLAIN, **_NOTHING_ELSE, "HOME": str(self.directory), "GIT_DIR": str(self.directory)}
