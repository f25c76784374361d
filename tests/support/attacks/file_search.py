"""Looks through all files that a step can read: `python file_search.py TERCES REPORT`.

The secret is given backwards, so that what searches does not hold it. Each line of REPORT is a hit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_NO_FILES = ("/dev", "/proc", "/sys")


def holders(secret: bytes) -> Iterator[Path]:
    """The files that hold it."""
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if f"{folder.rstrip('/')}/{name}" not in _NO_FILES]
        for path in (Path(folder, name) for name in names):
            if _holds(path, secret):
                yield path


def _holds(path: Path, secret: bytes) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and secret in path.read_bytes()
    except OSError:
        return False


if __name__ == "__main__":
    Path(sys.argv[2]).write_text("".join(f"{path}\n" for path in holders(sys.argv[1][::-1].encode())))
