"""The directory of one attempt, and what is made in it for its steps."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Mapping
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Final

from projectsetup.engines.local.supervisor.directories import remove_tree
from projectsetup.setup.output import OUTPUTS_BYTES

_MODE: Final = 0o700


class AttemptDirectory:
    """`workspace`, empty but for `.home` and `.tmp`; beside it what steps have no business with. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workspace = path / "workspace"
        self.private = path / f"private-{token_hex(8)}"
        """Made for a step, and named so that no step before it can put anything there."""
        self._numbers = count(1)

    def make(self) -> None:
        """Make it, as one that only this user can enter."""
        self.path.mkdir(mode=_MODE)
        self.workspace.mkdir(mode=_MODE)
        self._make_homes()

    def prepare(self, private_files: Mapping[str, str], private_folders: Collection[str] = ()) -> Path:
        """Make ready for a step; the file for its outputs, which is new and empty."""
        self._make_homes()
        if private_files or private_folders:
            self.private.mkdir(mode=_MODE)
            for name in private_folders:
                (self.private / name).mkdir(mode=_MODE)
            for name, content in private_files.items():
                _write_private(self.private / name, content)
        outputs = self.path / f"outputs-{next(self._numbers)}"
        _write_private(outputs, "")
        return outputs

    def clear_private(self) -> None:
        """Remove the private files and folders, and whatever the step has put there."""
        with contextlib.suppress(FileNotFoundError):
            remove_tree(str(self.private))

    def _make_homes(self) -> None:
        for name in (".home", ".tmp"):
            with contextlib.suppress(OSError):  # it is there, or a step has put a file there and wants it so
                os.mkdir(f"{self.workspace}/{name}", _MODE)


def read_bounded(path: Path) -> bytes:
    """What a step has left in its file for outputs; nothing when it has put something else there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, OUTPUTS_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def _write_private(path: Path, content: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(content)
