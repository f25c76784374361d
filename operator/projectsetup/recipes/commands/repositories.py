"""The repositories of a push: the one in the workspace, read as plain data, and the fresh copy that is pushed."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from projectsetup.recipes.commands.diagnosis import Transcript, diagnose
from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.processes import PLAIN, Command, CommandFailed, git_output, run_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OBJECT_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LOOSE = re.compile(r"[0-9a-f]{2}")
_REFERENCE_BYTES = 256
_PACKED_BYTES = 16 * 1024 * 1024
_ELSEWHERE = frozenset({"info/alternates", "info/http-alternates"})
_DEEPEST = 2
"""Directories below `objects`: `info/commit-graphs`."""

_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFREG: "a file"}
_OTHER_KIND = "neither a file nor a directory"


@dataclass(frozen=True, slots=True)
class UntrustedRepository:
    """The repository in the folder `title` of a workspace that no process writes to any more.

    git never runs in it, and none of its settings counts.
    """

    workspace: Path
    title: str

    def check(self) -> None:
        """Raise CommandError if anything leads out of the repository or is neither a file nor a directory."""
        for folder in (self.workspace, self.workspace / self.title, self._git, self._objects):
            self._expect(folder, stat.S_IFDIR)
        self._check_tree(self._objects, depth=0)

    def link_objects(self, folder: Path) -> None:
        """Link the objects that `check` has accepted into `folder`: loose objects, packs and their indexes.

        Everything else is derived from them. git trusts such files, and crashes on a forged reverse index.
        """
        pack, own = self._objects / "pack", folder / "pack"
        own.mkdir(mode=0o700, parents=True)
        for entry in self._entries(self._objects):
            if _LOOSE.fullmatch(entry.name):
                (folder / entry.name).symlink_to(entry.path)
        for entry in self._entries(pack) if os.path.lexists(pack) else ():
            if entry.name.endswith((".pack", ".idx")):
                (own / entry.name).symlink_to(entry.path)

    def tip_of(self, branch: str) -> str:
        """The commit that `refs/heads/<branch>` points to. Raises CommandError."""
        reference = f"refs/heads/{branch}"
        found = self._loose(reference) or self._packed(reference)
        if found is None:
            raise CommandError(f"{self.title}: there is no branch {branch}; nothing was committed")
        return found

    @property
    def _git(self) -> Path:
        return self.workspace / self.title / ".git"

    @property
    def _objects(self) -> Path:
        return self._git / "objects"

    def _check_tree(self, folder: Path, depth: int) -> None:
        if depth > _DEEPEST:
            self._refuse(folder, "is nested deeper than git does it")
        for entry in self._entries(folder):
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                self._check_tree(path, depth + 1)
            elif not entry.is_file(follow_symlinks=False):
                self._refuse(path, "is neither a file nor a directory")
            elif str(path.relative_to(self._objects)) in _ELSEWHERE:
                self._refuse(path, "would take objects from another repository")

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                yield from entries
        except PermissionError:
            self._refuse(folder, "cannot be read")

    def _loose(self, reference: str) -> str | None:
        path = self._git
        *folders, name = reference.split("/")
        for folder in folders:
            path /= folder
            if not os.path.lexists(path):
                return None
            self._expect(path, stat.S_IFDIR)
        content = self._read(path / name, _REFERENCE_BYTES)
        if content is None:
            return None
        match = _OBJECT_ID.fullmatch(content.strip())
        if match is None:
            self._refuse(path / name, "does not hold the id of a commit")
        return match[0].decode()

    def _packed(self, reference: str) -> str | None:
        content = self._read(self._git / "packed-refs", _PACKED_BYTES)
        for line in (content or b"").splitlines():
            commit, _, name = line.partition(b" ")
            if name == reference.encode() and _OBJECT_ID.fullmatch(commit):
                return commit.decode()
        return None

    def _read(self, path: Path, most: int) -> bytes | None:
        """The content; None if there is no such file."""
        if not os.path.lexists(path):
            return None
        self._expect(path, stat.S_IFREG)
        try:
            with path.open("rb") as file:
                content = file.read(most + 1)
        except PermissionError:
            self._refuse(path, "cannot be read")
        if len(content) > most:
            self._refuse(path, f"is larger than {most} bytes")
        return content

    def _expect(self, path: Path, kind: int) -> None:
        try:
            found = stat.S_IFMT(path.lstat().st_mode)
        except FileNotFoundError:
            self._refuse(path, "is missing")
        if found != kind:
            self._refuse(path, f"is {_KINDS.get(found, _OTHER_KIND)}, not {_KINDS[kind]}")

    def _refuse(self, path: Path, why: str) -> NoReturn:
        name = os.path.relpath(path, self.workspace.parent)
        raise CommandError(f"{name!r} {why}, so it cannot be pushed")


_KEPT = ("LD_LIBRARY_PATH", "PATH", "TMPDIR")
_NOTHING_ELSE = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_NO_REPLACE_OBJECTS": "1"}

_SHA1_DIGITS = 40
_SUBMODULE = b"160000 "


class FreshRepository:
    """A bare repository, created without templates, with one commit and its whole history, checked by git."""

    def __init__(self, directory: Path, source: UntrustedRepository, branch: str) -> None:
        """Create it in the new `directory`. No process that reads `source` gets credentials.

        Raises CommandError if `source` leads out of the workspace, is incomplete, or has broken objects or submodules.
        """
        self.directory = directory
        self.reference = f"refs/heads/{branch}"
        source.check()
        self.commit = source.tip_of(branch)
        directory.mkdir(mode=0o700)
        try:
            self._fill(source)
            self._refuse_submodules(source.title)
        except CommandFailed as exc:
            raise diagnose(source.title, Transcript(errors=str(exc))) from exc

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
            stdin=f"{self.commit}\n".encode(),
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
                raise CommandError(f"{title}: it has submodules, which cannot be pushed")

        command = Command(["git", "ls-tree", "-r", "-z", "--full-tree", self.commit], self._environment())
        run_pipeline(command, folder=self.directory, consume=consume)

    def _git(self, *arguments: str) -> str:
        return git_output(self.directory, *arguments, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {**kept, **PLAIN, **_NOTHING_ELSE, "HOME": str(self.directory), "GIT_DIR": str(self.directory)}
