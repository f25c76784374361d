"""The directory of one attempt, and what is made in it for its steps."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Final

from projectsetup.setup.outputs import OUTPUTS_BYTES

_MODE: Final = 0o700


class AttemptDirectory:
    """`workspace`, empty but for `.home` and `.tmp`; beside it what steps have no business with. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workspace = path / "workspace"
        self.private = path / "private"
        self._numbers = count(1)

    def make(self) -> None:
        """Make it, as one that only this user can enter."""
        self.path.mkdir(mode=_MODE)
        self.workspace.mkdir(mode=_MODE)
        self._make_homes()

    def prepare(self, private_files: Mapping[str, str]) -> Path:
        """Make ready for a step; the file for its outputs, which is new and empty."""
        self._make_homes()
        if private_files:
            self.clear_private()
            self.private.mkdir(mode=_MODE)
            for name, content in private_files.items():
                _write_private(self.private / name, content)
        outputs = self.path / f"outputs-{next(self._numbers)}"
        _write_private(outputs, "")
        return outputs

    def clear_private(self) -> None:
        """Remove the private files."""
        shutil.rmtree(self.private, ignore_errors=True)

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
