"""Directories of supervisors below the workspace root: one each, locked while it lives; and how trees are removed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Collection

PREFIX = "projectsetup-"
LOCK = "lock"

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20


def make_own(root: str) -> tuple[str, int]:
    """A new directory, and the file descriptor whose lock marks it as in use. Raises OSError.

    It gets its final name once it is locked: a directory of that name without a lock belongs to no living supervisor.
    """
    token = os.urandom(5).hex()
    new, own = f"{root}/.{PREFIX}{token}", f"{root}/{PREFIX}{token}"
    os.mkdir(new, 0o700)
    lock = os.open(f"{new}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(new, own)
    return own, lock


def list_all(root: str) -> list[str]:
    """The directories of all supervisors of all users."""
    with os.scandir(root) as entries:
        return [entry.path for entry in entries if entry.name.lstrip(".").startswith(PREFIX)]


def find_abandoned(root: str) -> dict[str, int]:
    """Directories of this user whose supervisor is dead, each with the lock that lets this process remove it."""
    found: dict[str, int] = {}
    for entry in list(os.scandir(root)):
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if entry.name.startswith(PREFIX) and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                lock = _take_lock(f"{entry.path}/{LOCK}")
                if lock is not None:
                    found[entry.path] = lock
    return found


def remove_own(directory: str) -> None:
    """Remove a supervisor's directory, its lock last, so that the next supervisor finds what an interruption left."""
    with contextlib.suppress(OSError):
        remove_tree(directory, keep=(LOCK,))
    with contextlib.suppress(OSError):
        remove_tree(directory)


def remove_tree(path: str, keep: Collection[str] = ()) -> None:
    """Remove the directory; with `keep`, files of these names directly in it stay, and so does the directory.

    Follows no symbolic link and enters no mount point. Raises the first OSError after removing the rest. A deep tree
    takes no more memory or file descriptors than a flat one: directories are moved to the top and emptied there.
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
                _try(os.unlink, entry.path, problems)
            elif entry.stat(follow_symlinks=False).st_dev != device:
                problems.append(OSError(errno.EBUSY, "is a mount point", entry.path))
            else:
                moved += 1
                pending.append(_lift(entry.path, f"{path}/.{token}-{moved}"))
        if directory != path:
            _try(os.rmdir, directory, problems)
    if not keep:
        _try(os.rmdir, path, problems)
    if problems:
        raise problems[0]


def _take_lock(path: str) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _entries(directory: str, problems: list[OSError]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError as error:
        problems.append(error)
        return []


def _lift(directory: str, top: str) -> str:
    """Move the directory to `top`; returns its new path, or the old one when it cannot be moved."""
    _unlock(directory)
    try:
        os.rename(directory, top)
    except OSError:
        return directory
    return top


def _try(remove: Callable[[str], None], path: str, problems: list[OSError]) -> None:
    try:
        try:
            remove(path)
        except PermissionError:
            _clear_flags(path)
            remove(path)
    except OSError as error:
        problems.append(error)


def _unlock(directory: str) -> None:
    """Allow entries to be removed from the directory, and the directory to be moved."""
    with contextlib.suppress(OSError):
        if stat.S_IMODE(os.lstat(directory).st_mode) & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(directory, stat.S_IRWXU)
    if os.geteuid() == 0:
        _clear_flags(directory)


def _clear_flags(path: str) -> None:
    """Clear the flags `immutable` and `append only`, which stop even root."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, bytes(struct.calcsize("l"))))
            if flags & (_IMMUTABLE | _APPEND_ONLY):
                fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", flags & ~(_IMMUTABLE | _APPEND_ONLY)))
        finally:
            os.close(fd)
