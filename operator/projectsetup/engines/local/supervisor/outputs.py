"""The file to which the steps of an attempt report their outputs, one after another."""

from __future__ import annotations

import os


class OutputsFile:
    """Each step finds its file empty. A step that leaves it alone leaves it to the next, which saves making another.

    Any change counts, also one that hides what follows, such as another link to the file. The name of a new file is
    random, so that no earlier step can have made it.
    """

    def __init__(self, prefix: str) -> None:
        """`prefix`: how the paths of the files begin."""
        self._prefix = prefix
        self._path = ""
        self._made: tuple[int, ...] | None = None

    def prepare(self) -> str:
        """The path of the next step's file. Raises OSError."""
        if self._made is None:
            self._path = f"{self._prefix}{os.urandom(8).hex()}"
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._made = _state(os.fstat(fd))
            os.close(fd)
        return self._path

    def changed(self) -> str | None:
        """The path of the file if the step has written to it, or done anything else to it."""
        try:
            if _state(os.lstat(self._path)) == self._made:
                return None
        except OSError:
            pass  # it is gone
        self._made = None
        return self._path


def _state(status: os.stat_result) -> tuple[int, ...]:
    return (
        *(status.st_dev, status.st_ino, status.st_ctime_ns),
        *(status.st_size, status.st_mode, status.st_nlink, status.st_uid, status.st_gid),
    )
