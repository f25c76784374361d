"""Removing a directory with everything in it, whatever its owner has done to it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Collection

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20


def remove_tree(path: str, keep: Collection[str] = ()) -> None:
    """Remove the directory; with `keep`, the files of these names in it are left and so is the directory.

    No symbolic link is followed and no mount point entered. Raises OSError, the first of all, after removing the rest.
    It takes no more memory or file descriptors for a deep tree than for a flat one: directories are moved to the top
    and emptied there.
    """
    problems: list[OSError] = []
    device = os.lstat(path).st_dev
    token = os.urandom(6).hex()
    _unlock(path)
    pending, moved = [path], 0
    while pending:
        directory = pending.pop()
        for entry in _entries(directory, problems):
            if directory == path and entry.name in keep:
                continue
            if not entry.is_dir(follow_symlinks=False):
                _attempt(os.unlink, entry.path, problems)
            elif entry.stat(follow_symlinks=False).st_dev != device:
                problems.append(OSError(errno.EBUSY, "is a mount point", entry.path))
            else:
                moved += 1
                pending.append(_lift(entry.path, f"{path}/.{token}-{moved}"))
        if directory != path:
            _attempt(os.rmdir, directory, problems)
    if not keep:
        _attempt(os.rmdir, path, problems)
    if problems:
        raise problems[0]


def _entries(directory: str, problems: list[OSError]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError as error:
        problems.append(error)
        return []


def _lift(directory: str, top: str) -> str:
    """Where the directory is now."""
    _unlock(directory)
    try:
        os.rename(directory, top)
    except OSError:
        return directory  # it is emptied where it is
    return top


def _attempt(remove: Callable[[str], None], path: str, problems: list[OSError]) -> None:
    try:
        try:
            remove(path)
        except PermissionError:
            _clear_flags(path)
            remove(path)
    except OSError as error:
        problems.append(error)


def _unlock(directory: str) -> None:
    """Make it possible to take entries out of the directory, and to move it."""
    with contextlib.suppress(OSError):
        if stat.S_IMODE(os.lstat(directory).st_mode) & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(directory, stat.S_IRWXU)
    if os.geteuid() == 0:
        _clear_flags(directory)


def _clear_flags(path: str) -> None:
    """Take away the flags `immutable` and `append only`, which stand in the way of root too."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, bytes(struct.calcsize("l"))))
            if flags & (_IMMUTABLE | _APPEND_ONLY):
                fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", flags & ~(_IMMUTABLE | _APPEND_ONLY)))
        finally:
            os.close(fd)
